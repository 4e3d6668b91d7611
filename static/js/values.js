// Live values: `[data-device][data-point]` elements take each new reading of `devices/<device>/all` into their `[data-value]` and `<time data-age>`.
// `[data-device]` alone (a device's row) takes only the time. Writing, formatting and staleness are the same as on the server.
import { showAge } from './ages.js';
import { live, platform } from './live.js';
import { serverNow } from './time.js';

const SEPARATE_MAX = 24;

export function startValues() {
  let ends = [];
  const subscribe = () => {
    for (const end of ends) end();
    const devices = [...new Set([...document.querySelectorAll('[data-device]')].map((element) => element.dataset.device))];
    const prefixes = devices.length > SEPARATE_MAX ? ['devices/'] : devices.map((device) => `devices/${device}/all`);
    ends = prefixes.map((prefix) => live.subscribe(platform, prefix, take, { replay: 1 }));
  };
  subscribe();
  document.addEventListener('page:devices', subscribe);
}

function take(event) {
  const match = /^devices\/(.+)\/all$/s.exec(event.topic);
  if (!match) return;
  const values = Array.isArray(event.message) ? event.message[0] : event.message;
  if (!values || typeof values !== 'object') return;
  const at = event.headers?.TimeStamp || event.headers?.Date || event.at || new Date(serverNow()).toISOString();
  for (const element of document.querySelectorAll(`[data-device="${CSS.escape(match[1])}"]`)) {
    const point = element.dataset.point;
    if (point !== undefined && !Object.hasOwn(values, point)) continue;
    const age = ageOf(element, at);
    if (age) {
      if (Date.parse(at) < Date.parse(age.dateTime)) continue;
      age.dateTime = at;
      showAge(age);
    }
    if (point !== undefined) show(element, values[point]);
  }
}

/** The element's `<time>`; before the first reading there is only a word in its place. */
function ageOf(element, at) {
  const known = element.querySelector('.age');
  if (!known || known.tagName === 'TIME') return known;
  const age = document.createElement('time');
  age.className = 'age';
  age.dataset.age = '';
  age.dateTime = at;
  known.replaceWith(age);
  return age;
}

function show(element, value) {
  const target = element.querySelector('[data-value]');
  if (!target) return;
  const text = format(value);
  if (target.textContent === text) return;
  target.textContent = text;
  target.title = text.length > 24 ? text : '';
  const cell = element.querySelector('td[data-sort-value]');
  if (cell) cell.dataset.sort = typeof value === 'number' ? String(value) : text;
  const glow = target.closest('.value') ?? target;
  glow.classList.remove('changed');
  requestAnimationFrame(() => glow.classList.add('changed'));
}

/** Seven significant digits, as a 32-bit reading has; the server writes the same. */
export function format(value) {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'number') return String(Number(value.toPrecision(7)));
  if (typeof value === 'string') return value;
  return JSON.stringify(value);
}
