// The server's clock as seen from here, and how moments and ages are written. The server stamps each page with its own time, so that a wrong
// clock on the viewing machine does not make fresh values look stale.

const skewMs = Date.now() - Number(document.documentElement.dataset.now || Date.now());

export const serverNow = () => Date.now() - skewMs;

/** `3 s`, `4 min`, `2 h 5 min`, `3 d`; the same words as the server writes. */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) {
    const minutes = Math.floor((s % 3600) / 60);
    return minutes ? `${Math.floor(s / 3600)} h ${minutes} min` : `${Math.floor(s / 3600)} h`;
  }
  return `${Math.floor(s / 86400)} d`;
}

export const age = (timeMs) => {
  const seconds = (serverNow() - timeMs) / 1000;
  return seconds < 1 ? 'just now' : `${span(seconds)} ago`;
};

const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

export const fullTime = (timeMs) => full.format(timeMs);
export const clockTime = (timeMs) => clock.format(timeMs);
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
