// An agent's log as it is written: `[data-log="<event stream>"]`. Follows the end unless the reader scrolled up; can be paused and filtered.
import { renew, toLogin } from './session.js';
import { clockTime } from './time.js';

const LINES_MAX = 2000;
const HELD_MAX = 2000;
const AGAIN_MS = 5000;
const ORDER = ['TRACE', 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'];

export function startLogs() {
  for (const box of document.querySelectorAll('[data-log]')) start(box);
}

function start(box) {
  const panel = box.closest('[data-log-panel]') ?? document;
  const filter = panel.querySelector('[data-log-filter]');
  const level = panel.querySelector('[data-log-level]');
  const pause = panel.querySelector('[data-log-pause]');
  const status = panel.querySelector('[data-log-status]');
  const none = panel.querySelector('[data-log-none]');
  let paused = false;
  let held = [];
  let following = true;

  for (const line of box.querySelectorAll('.log-line')) localTime(line);
  const fits = (line) => {
    const words = filter?.value.toLowerCase() || '';
    const least = ORDER.indexOf(level?.value || 'TRACE');
    return (ORDER.indexOf(line.dataset.level) === -1 || ORDER.indexOf(line.dataset.level) >= least) && line.textContent.toLowerCase().includes(words);
  };
  const refilter = () => {
    for (const line of box.children) line.hidden = !fits(line);
    if (following) box.scrollTop = box.scrollHeight;
  };
  const add = (records) => {
    for (const record of records) {
      const line = render(record);
      line.hidden = !fits(line);
      box.append(line);
    }
    if (none) none.hidden = true;
    while (box.children.length > LINES_MAX) box.firstElementChild.remove();
    if (following) box.scrollTop = box.scrollHeight;
  };
  const say = (text) => { if (status) status.textContent = text; };

  filter?.addEventListener('input', refilter);
  level?.addEventListener('change', refilter);
  box.addEventListener('scroll', () => { following = box.scrollHeight - box.scrollTop - box.clientHeight < 24; });
  pause?.addEventListener('click', () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
    pause.querySelector('[data-word]').textContent = paused ? 'Resume' : 'Pause';
    if (!paused) {
      add(held);
      held = [];
    }
    say(paused ? 'Paused' : 'Following');
  });
  box.scrollTop = box.scrollHeight;

  const address = new URL(box.dataset.log, location.href);
  let stream = null;
  const open = () => {
    stream?.close();
    stream = new EventSource(address);
    stream.addEventListener('open', () => say(paused ? 'Paused' : 'Following'));
    stream.addEventListener('error', failed);
    stream.addEventListener('line', (event) => {
      if (event.lastEventId) address.searchParams.set('after', event.lastEventId);
      const record = JSON.parse(event.data);
      if (!paused) return add([record]);
      held.push(record);
      if (held.length > HELD_MAX) held.shift();
      say(`Paused, ${held.length} waiting`);
    });
    stream.addEventListener('lagged', (event) => add([{ at: new Date().toISOString(), level: 'WARNING', text: `${event.data} lines were skipped because this page could not keep up` }]));
  };
  const failed = async () => {
    say('Reconnecting');
    if (stream.readyState !== EventSource.CLOSED) return;
    // The browser gives up on any answer but a stream: from a server that is starting, or when the session has ended.
    if (!(await renew().catch(() => true))) toLogin();
    setTimeout(() => { if (stream.readyState === EventSource.CLOSED) open(); }, AGAIN_MS);
  };
  open();
  addEventListener('pagehide', () => stream.close());
  addEventListener('pageshow', (event) => { if (event.persisted) open(); });
}

function render(record) {
  const line = document.createElement('div');
  line.className = `log-line log-${record.level.toLowerCase()}`;
  line.dataset.level = record.level;
  const time = document.createElement('time');
  time.dateTime = record.at;
  const level = document.createElement('span');
  level.className = 'level';
  level.textContent = record.level;
  const text = document.createElement('bdi');
  text.className = 'text';
  text.textContent = record.text;
  line.append(time, level, text);
  localTime(line);
  return line;
}

function localTime(line) {
  const time = line.querySelector('time');
  const at = Date.parse(time?.dateTime);
  if (!Number.isNaN(at)) {
    time.textContent = clockTime(at);
    time.title = time.dateTime;
  }
}
