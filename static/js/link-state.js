// Shows in the top bar whether the page is live, and renews the session before the access token runs out.
import { live } from './live.js';
import { renew } from './session.js';
import { toast } from './toast.js';

const WORDS = { connecting: 'Connecting', live: 'Live', offline: 'Offline' };
const RENEW_EVERY_MS = 5 * 60_000;
const OFFLINE_SHOWN_AFTER_MS = 1500;

export function startLinkState() {
  const element = document.querySelector('[data-link-state]');
  let timer = null;
  const show = (state) => {
    if (!element) return;
    element.dataset.state = state;
    element.querySelector('.word').textContent = WORDS[state];
    element.title = state === 'live' ? 'Values arrive as they are published' : 'Values shown may be old until the connection is back';
  };
  live.onState((state, detail) => {
    // A reconnect within a moment is not worth alarming anybody; once offline, the page says so until it is live again.
    if (state === 'live') {
      clearTimeout(timer);
      timer = null;
      show(state);
    } else if (state === 'offline') {
      timer ??= setTimeout(() => show(state), OFFLINE_SHOWN_AFTER_MS);
    }
    if (detail.missed) toast('stale', `This page could not keep up: ${detail.missed} messages were skipped. The newest values are shown.`);
  });
  live.start();
  setInterval(() => { if (!document.hidden) renew().catch(() => true); }, RENEW_EVERY_MS);
}
