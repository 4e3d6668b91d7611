// Keeps `<time data-age datetime>` counting, turns them stale after the nearest `data-stale-after` (seconds), and shows `<time data-local>` in the
// viewer's zone with the full moment as title.
import { age, fullTime, serverNow } from './time.js';

export function startAges() {
  tick();
  setInterval(tick, 1000);
  document.addEventListener('page:refreshed', tick);
}

function tick() {
  if (document.hidden) return;
  for (const element of document.querySelectorAll('time[data-age]')) showAge(element);
  for (const element of document.querySelectorAll('time[data-local]:not([data-shown])')) {
    const time = Date.parse(element.dateTime);
    if (Number.isNaN(time)) continue;
    element.title = element.dateTime;
    element.textContent = fullTime(time);
    element.dataset.shown = '';
  }
}

/** Writes the age of one element; called again at once when its moment changes. */
export function showAge(element) {
  const time = Date.parse(element.dateTime);
  if (Number.isNaN(time)) return;
  const holder = element.closest('[data-stale-after]');
  const limit = Number(holder?.dataset.staleAfter);
  const stale = limit > 0 && serverNow() - time > limit * 1000;
  const text = stale ? `stale, ${age(time)}` : age(time);
  if (element.textContent !== text) element.textContent = text;
  element.classList.toggle('is-stale', stale);
  holder?.classList.toggle('is-stale', stale);
  element.title = fullTime(time);
}
