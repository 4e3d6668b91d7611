// A point's chart: history from the server, live readings joined at its end, range buttons, zoom by dragging, a band between smallest and largest
// value where the server thinned the data, and the same numbers as a table.
// `[data-chart="<url>"]` answers ?from&to&points (ISO times, pixels) with {"t":[ms],"v":[],"min":[],"max":[],"thinned":bool}.
import uPlot from '../vendor/uplot/uPlot.esm.js';
import { live, platform } from './live.js';
import { getJson } from './session.js';
import { fullTime, serverNow } from './time.js';
import { format } from './values.js';

const LIVE_POINTS_MAX = 20_000;
const TABLE_ROWS_MAX = 200;
const HEIGHT_PX = 320;
/** A pause longer than this many usual intervals is drawn as a gap, not as a line. */
const GAP_INTERVALS = 4;

export function startCharts() {
  for (const element of document.querySelectorAll('[data-chart]')) new PointChart(element).start();
}

class PointChart {
  constructor(element) {
    this.element = element;
    this.panel = element.closest('[data-chart-panel]') ?? document;
    this.note = element.querySelector('[data-chart-note]');
    this.readout = this.panel.querySelector('[data-chart-readout]');
    this.rows = this.panel.querySelector('[data-chart-rows]');
    this.unit = element.dataset.unit || '';
    this.stepped = element.dataset.kind !== 'number';
    this.span = Number(element.dataset.span || 3600) * 1000;
    this.zoom = null;
    this.times = [];
    this.values = [];
    this.low = [];
    this.high = [];
    this.thinned = false;
    this.request = 0;
    this.pending = [];
  }

  start() {
    this.build();
    this.panel.addEventListener('click', (event) => {
      const button = event.target.closest('[data-span]');
      if (button && button !== this.element) this.choose(Number(button.dataset.span) * 1000);
      if (event.target.closest('[data-chart-reset]')) this.choose(this.span);
    });
    document.addEventListener('page:theme', () => this.rebuild());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.rebuild());
    new ResizeObserver(() => this.plot?.setSize({ width: this.width(), height: HEIGHT_PX })).observe(this.element);
    const { device, point } = this.element.dataset;
    live.subscribe(platform, `devices/${device}/all`, (event) => this.take(event, device, point));
    // The right edge moves with time even when nothing is published: silence must be seen.
    setInterval(() => { if (!this.zoom && !document.hidden) this.follow(); }, 1000);
    this.mark();
    this.load();
  }

  width() {
    const style = getComputedStyle(this.element);
    return Math.max(200, this.element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
  }

  choose(span) {
    this.span = span;
    this.zoom = null;
    this.mark();
    this.load();
  }

  mark() {
    for (const button of this.panel.querySelectorAll('button[data-span]')) button.setAttribute('aria-pressed', String(!this.zoom && Number(button.dataset.span) * 1000 === this.span));
    const reset = this.panel.querySelector('[data-chart-reset]');
    if (reset) reset.hidden = !this.zoom;
  }

  async load() {
    const request = ++this.request;
    const to = this.zoom ? this.zoom[1] : serverNow();
    const from = this.zoom ? this.zoom[0] : to - this.span;
    const url = new URL(this.element.dataset.chart, location.href);
    url.searchParams.set('from', new Date(from).toISOString());
    url.searchParams.set('to', new Date(to).toISOString());
    url.searchParams.set('points', String(Math.round(this.width())));
    this.pending = [];
    this.element.setAttribute('aria-busy', 'true');
    try {
      const data = await getJson(url);
      if (request !== this.request) return;
      [this.times, this.values, this.low, this.high, this.thinned] = [data.t, data.v, data.min ?? [], data.max ?? [], Boolean(data.thinned)];
      for (const [time, value] of this.pending) this.append(time, value);
      this.say(this.times.length ? '' : data.note || 'No history in this range yet. New readings appear here as they arrive.');
    } catch (error) {
      if (request === this.request) this.say(error.message);
    } finally {
      if (request === this.request) {
        this.element.removeAttribute('aria-busy');
        this.draw();
        this.fillTable();
      }
    }
  }

  take(event, device, point) {
    if (event.topic !== `devices/${device}/all`) return;
    const values = Array.isArray(event.message) ? event.message[0] : event.message;
    if (!values || !Object.hasOwn(values, point)) return;
    const time = Date.parse(event.headers?.TimeStamp || event.at);
    const value = number(values[point]);
    if (Number.isNaN(time) || value === null) return;
    this.pending.push([time, value]);
    if (this.zoom || !this.append(time, value)) return;
    this.say('');
    this.draw();
    this.fillTable();
  }

  /** Adds a reading that is newer than all; false for one already there. */
  append(time, value) {
    if (this.times.length && time <= this.times.at(-1)) return false;
    this.times.push(time);
    this.values.push(value);
    this.low.push(value);
    this.high.push(value);
    const oldest = serverNow() - this.span * 1.1;
    while (this.times.length > LIVE_POINTS_MAX || (this.times.length > 2 && this.times[1] < oldest)) {
      for (const list of [this.times, this.values, this.low, this.high]) list.shift();
    }
    return true;
  }

  draw() {
    this.plot.setData(this.columns(), false);
    this.follow();
  }

  follow() {
    const to = this.zoom ? this.zoom[1] : serverNow();
    const from = this.zoom ? this.zoom[0] : to - this.span;
    this.plot.setScale('x', { min: from / 1000, max: to / 1000 });
  }

  /** Times in seconds, highest, lowest and mean, with nothing where readings are missing. */
  columns() {
    const usual = median(this.times.slice(1).map((time, index) => time - this.times[index]));
    const [times, high, low, values] = [[], [], [], []];
    this.times.forEach((time, index) => {
      const before = this.times[index - 1];
      if (before !== undefined && usual > 0 && time - before > usual * GAP_INTERVALS) {
        times.push((before + usual) / 1000);
        for (const list of [high, low, values]) list.push(null);
      }
      times.push(time / 1000);
      high.push(this.thinned ? this.high[index] : null);
      low.push(this.thinned ? this.low[index] : null);
      values.push(this.values[index]);
    });
    return [times, high, low, values];
  }

  build() {
    const colour = resolver(this.element);
    const [ink, grid, line, band] = ['--text-3', '--chart-grid', '--chart-1', '--chart-band'].map(colour);
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 }, font: '12px system-ui, sans-serif' };
    const shape = this.stepped ? { paths: uPlot.paths.stepped({ align: 1 }) } : {};
    const options = {
      width: this.width(),
      height: HEIGHT_PX,
      legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      scales: { x: { time: true, range: (_, low, high) => [low, high] }, y: { range: (_, low, high) => yRange(low, high, this.stepped) } },
      series: [
        {},
        { stroke: 'transparent', points: { show: false } },
        { stroke: 'transparent', points: { show: false } },
        { stroke: line, width: 1.75, spanGaps: false, points: { show: (_, __, first, last) => last - first < 40, size: 5, fill: line }, ...shape },
      ],
      bands: [{ series: [1, 2], fill: band }],
      axes: [
        { ...axis, space: 70, values: [[86400, '{YYYY}-{MM}-{DD}', null, null, null, null, null, null, 1], [3600, '{HH}:{mm}', '\n{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1], [60, '{HH}:{mm}', '\n{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1], [1, '{HH}:{mm}:{ss}', '\n{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1]] },
        { ...axis, size: (_, labels) => Math.max(44, ...(labels || []).map((label) => label.length * 7.5 + 14)), values: (_, splits) => splits.map((split) => format(split)) },
      ],
      hooks: { setSelect: [(plot) => this.selected(plot)], setCursor: [(plot) => this.point(plot)] },
    };
    this.plot = new uPlot(options, [[], [], [], []], this.element);
  }

  rebuild() {
    this.plot.destroy();
    this.build();
    this.draw();
  }

  selected(plot) {
    if (plot.select.width < 8) return;
    const from = plot.posToVal(plot.select.left, 'x') * 1000;
    const to = plot.posToVal(plot.select.left + plot.select.width, 'x') * 1000;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.zoom = [from, to];
    this.mark();
    this.load();
  }

  point(plot) {
    if (!this.readout) return;
    const index = plot.cursor.idx;
    const value = index === null || index === undefined ? null : plot.data[3][index];
    if (value === null || value === undefined) {
      this.readout.textContent = this.zoom ? 'Zoomed in. “Back to live” returns.' : 'Point at the chart to read a value; drag to zoom in.';
      return;
    }
    const unit = this.unit ? ` ${this.unit}` : '';
    const parts = [fullTime(plot.data[0][index] * 1000), `${format(value)}${unit}`];
    if (this.thinned && plot.data[1][index] !== null) parts.push(`lowest ${format(plot.data[2][index])}, highest ${format(plot.data[1][index])}`);
    this.readout.replaceChildren(...parts.map((text, at) => Object.assign(document.createElement(at === 1 ? 'b' : 'span'), { textContent: text })));
  }

  /** The newest numbers of the range, newest first; the table is for reading by keyboard and by screen readers. */
  fillTable() {
    const details = this.rows?.closest('details');
    if (!this.rows || (details && !details.open)) {
      details?.addEventListener('toggle', () => this.fillTable(), { once: true });
      return;
    }
    for (const head of details?.querySelectorAll('[data-thinned]') ?? []) head.hidden = !this.thinned;
    const rows = [];
    for (let index = this.times.length - 1; index >= 0 && rows.length < TABLE_ROWS_MAX; index -= 1) {
      const row = document.createElement('tr');
      const cells = [fullTime(this.times[index]), format(this.values[index])];
      if (this.thinned) cells.push(format(this.low[index]), format(this.high[index]));
      cells.forEach((text, at) => row.append(Object.assign(document.createElement('td'), { textContent: text, className: at ? 'num' : '' })));
      rows.push(row);
    }
    this.rows.replaceChildren(...rows);
  }

  say(text) {
    if (!this.note) return;
    this.note.textContent = text;
    this.note.hidden = !text;
  }
}

function number(value) {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function median(list) {
  const sorted = list.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function yRange(low, high, stepped) {
  if (low === null || high === null || low === undefined) return [0, 1];
  if (low === high) return stepped && (low === 0 || low === 1) ? [-0.1, 1.1] : [low - Math.max(1, Math.abs(low) * 0.02), high + Math.max(1, Math.abs(high) * 0.02)];
  const room = (high - low) * 0.08;
  return [low - room, high + room];
}

/** Canvas needs real colours: lets the browser resolve a token in the present theme. */
function resolver(element) {
  const probe = document.createElement('span');
  probe.hidden = true;
  element.append(probe);
  return (token) => {
    probe.style.color = `var(${token})`;
    return getComputedStyle(probe).color;
  };
}
