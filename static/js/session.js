// Requests with the session's cookies. The access token lives for minutes; `/session` renews it from the refresh cookie, and names no user when the
// session is over, upon which the page goes to the login form and comes back, unless somebody is filling in a form: what was typed stays.
import { toast } from './toast.js';

const LEAVING_MS = 10_000;

let asking = null;
let leaving = false;
let told = false;

// A page that is being left (by logging out, for one) must not be sent elsewhere meanwhile.
addEventListener('beforeunload', () => {
  leaving = true;
  setTimeout(() => { leaving = false; }, LEAVING_MS);
});

/** Renews the session and resolves to `{user, csrf}`; several callers share one request. Throws when there is no answer. */
export function session() {
  asking ??= fetch('/session', { headers: { accept: 'application/json' }, cache: 'no-store' })
    .then((response) => {
      if (!response.ok) throw new Error(`The server answered ${response.status}.`);
      return response.json();
    })
    .finally(() => { asking = null; });
  return asking;
}

/** Renews the session; resolves to false when it has ended. */
export async function renew() {
  const { user } = await session();
  if (user !== null) told = false;
  return user !== null;
}

export function toLogin() {
  if (leaving) return;
  if (!unsaved()) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  } else if (!told) {
    told = true;
    sessionEnded('What you entered here stays and can be sent after that.');
  }
}

/** Says that the session is over and offers the login form in another window. */
export function sessionEnded(more) {
  toast('bad', `Your session has ended. Log in in another window. ${more}`, { href: '/login', words: 'Log in' });
}

/** Whether a form of the page holds something that the server did not put there. */
function unsaved() {
  return [...document.querySelectorAll('form[method="post"] :is(input:not([type="hidden"], [type="checkbox"]), textarea)')].some((field) => field.value !== field.defaultValue);
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
