// Keeps server-rendered regions current: the page is fetched again when something relevant happened, and elements marked `data-swap` (with an id)
// take over what changed, keeping focus, open branches, sort order and filters. One rendering, in the templates; none in scripts.
// `<main data-refresh="seconds" data-refresh-on="topic prefixes">`; a hidden page does nothing and catches up when shown.
import { Idiomorph } from '../vendor/idiomorph/idiomorph.esm.js';
import { live, platform } from './live.js';
import { toLogin } from './session.js';

const GAP_MIN_MS = 1000;
const SERVER_EVENTS = ['agent.state', 'platform.state', 'alert', 'install.progress', 'job'];
/** Attributes that belong to the viewer, not to the server. */
const KEPT = new Set(['open', 'aria-sort', 'aria-busy', 'aria-disabled', 'hidden', 'data-busy', 'data-shown']);

let last = Date.now();
let timer = null;
let running = false;
let again = false;

export function startRefresh() {
  const main = document.querySelector('main[data-refresh]');
  if (!main) return;
  const every = Number(main.dataset.refresh) * 1000;
  if (every) setInterval(() => { if (Date.now() - last >= every) refreshSoon(); }, 1000);
  live.onServerEvent((frame) => { if (SERVER_EVENTS.includes(frame.op)) refreshSoon(); });
  for (const prefix of (main.dataset.refreshOn || '').split(' ').filter(Boolean)) live.subscribe(platform, prefix, refreshSoon);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refreshSoon(); });
}

/** Refreshes now, or one second after the last time. */
export function refreshSoon() {
  if (document.hidden || timer) return;
  timer = setTimeout(refresh, Math.max(0, last + GAP_MIN_MS - Date.now()));
}

async function refresh() {
  timer = null;
  if (running) {
    again = true;
    return;
  }
  running = true;
  last = Date.now();
  try {
    const response = await fetch(location.href, { headers: { accept: 'text/html', 'x-refresh': '1' }, cache: 'no-store' });
    if (new URL(response.url).pathname === '/login') return toLogin();
    if (response.ok) swapFrom(new DOMParser().parseFromString(await response.text(), 'text/html'));
  } catch {
    // The connection state in the top bar already says it.
  } finally {
    running = false;
    if (again) {
      again = false;
      refreshSoon();
    }
  }
}

/** Takes over every `data-swap` region that `page` also has. */
export function swapFrom(page) {
  if (document.querySelector('dialog[open]')) return;
  for (const old of document.querySelectorAll('[data-swap][id]')) {
    const fresh = page.getElementById(old.id);
    if (!fresh) continue;
    if (old.tagName === 'TBODY') swapRows(old, fresh);
    else morph(old, fresh, 'innerHTML');
  }
  document.dispatchEvent(new CustomEvent('page:refreshed'));
}

/** Rows are matched by id and keep their present order, so that a sorted table stays sorted; new rows come last. */
function swapRows(old, fresh) {
  const wanted = new Map([...fresh.rows].map((row) => [row.id, row]));
  for (const row of [...old.rows]) {
    const next = wanted.get(row.id);
    if (!next || !row.id) row.remove();
    else morph(row, next, 'outerHTML');
    if (row.id) wanted.delete(row.id);
  }
  for (const row of wanted.values()) old.append(row);
}

function morph(old, fresh, morphStyle) {
  Idiomorph.morph(old, morphStyle === 'innerHTML' ? fresh.innerHTML : fresh.outerHTML, {
    morphStyle,
    // For form fields only: of a focused button the library would otherwise leave the words as they are.
    ignoreActiveValue: document.activeElement?.matches('input, textarea, select') ?? false,
    callbacks: {
      beforeAttributeUpdated: (name) => !KEPT.has(name),
      beforeNodeMorphed: (node) => !(node.nodeType === 1 && node.matches('[data-keep], form[data-busy]')),
    },
  });
}
