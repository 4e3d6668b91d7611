// Requests with the session's cookies. The access token lives for minutes; `/session` renews it from the refresh cookie, and names no user when the
// session is over, upon which the page goes to the login form and comes back.

const LEAVING_MS = 10_000;

let renewal = null;
let leaving = false;

// A page that is being left (by logging out, for one) must not be sent elsewhere meanwhile.
addEventListener('beforeunload', () => {
  leaving = true;
  setTimeout(() => { leaving = false; }, LEAVING_MS);
});

/** Renews the session; several callers share one request. Resolves to false when the session has ended. */
export function renew() {
  renewal ??= fetch('/session', { headers: { accept: 'application/json' }, cache: 'no-store' })
    .then(async (response) => response.ok && (await response.json()).user !== null)
    .finally(() => { renewal = null; });
  return renewal;
}

export function toLogin() {
  if (leaving) return;
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
