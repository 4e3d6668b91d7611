// Requests with the session's cookies. The access token lives for minutes; `/session` renews it from the refresh cookie, and says 401 when the
// session is over, upon which the page goes to the login form and comes back.

let renewal = null;

/** Renews the session; several callers share one request. Resolves to false when the session has ended. */
export function renew() {
  renewal ??= fetch('/session', { headers: { accept: 'application/json' }, cache: 'no-store' })
    .then((response) => response.status !== 401)
    .finally(() => { renewal = null; });
  return renewal;
}

export function toLogin() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** GETs JSON; renews the session once when it has run out. Throws an Error whose message can be shown. */
export async function getJson(url, options = {}) {
  let response = await fetch(url, { headers: { accept: 'application/json' }, ...options });
  if (response.status === 401 && (await renew())) response = await fetch(url, { headers: { accept: 'application/json' }, ...options });
  if (response.status === 401) {
    toLogin();
    throw new Error('The session has ended.');
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `The server answered ${response.status}.`);
  return body;
}
