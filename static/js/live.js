// One websocket for the page: subscriptions on topic prefixes, shared between callers, restored after a lost connection.
// Wire: sub-protocol `volttron.v2` on /vui/ws; {"op":"subscribe","id","platform","prefix","replay"} is answered by {"op":"ok","id","sub"}, then
// {"op":"event","sub","platform","topic","headers","message","sender","at"}; {"op":"lagged","missed"} says that messages were dropped for us.
import { renew, toLogin } from './session.js';

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15_000;

class Live {
  #socket = null;
  #attempt = 0;
  #nextId = 1;
  #timer = null;
  #closing = false;
  /** key -> { platform, prefix, replay, sub, id, listeners:Set } */
  #wanted = new Map();
  #bySub = new Map();
  #states = new Set();
  #server = new Set();
  state = 'connecting';

  start() {
    if (this.#socket || this.#closing) return;
    const url = new URL('/vui/ws', location.href);
    url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:';
    const socket = new WebSocket(url, 'volttron.v2');
    this.#socket = socket;
    this.#tell('connecting');
    socket.addEventListener('open', () => {
      this.#attempt = 0;
      this.#tell('live');
      for (const entry of this.#wanted.values()) this.#ask(entry);
    });
    socket.addEventListener('message', (event) => this.#receive(event.data));
    socket.addEventListener('close', (event) => this.#lost(event.code));
    addEventListener('online', () => this.#retryNow(), { once: true });
  }

  /** Calls `listener(event)` for each message below `prefix`; returns the function that ends it. */
  subscribe(platform, prefix, listener, { replay = 0 } = {}) {
    const key = JSON.stringify([platform, prefix]);
    let entry = this.#wanted.get(key);
    if (!entry) {
      entry = { platform, prefix, replay, sub: null, id: null, listeners: new Set() };
      this.#wanted.set(key, entry);
      if (this.state === 'live') this.#ask(entry);
    }
    entry.listeners.add(listener);
    this.start();
    return () => {
      entry.listeners.delete(listener);
      if (entry.listeners.size) return;
      this.#wanted.delete(key);
      if (entry.sub) {
        this.#bySub.delete(entry.sub);
        this.#send({ op: 'unsubscribe', sub: entry.sub });
      }
    };
  }

  /** Calls `listener(state, detail)` now and at every change; state is `connecting`, `live` or `offline`. */
  onState(listener) {
    this.#states.add(listener);
    listener(this.state, {});
  }

  /** Calls `listener(frame)` for every frame that is not about a subscription, such as `agent.state` and `alert`. */
  onServerEvent(listener) {
    this.#server.add(listener);
  }

  #ask(entry) {
    entry.id = this.#nextId++;
    entry.sub = null;
    const frame = { op: 'subscribe', id: entry.id, platform: entry.platform, prefix: entry.prefix };
    if (entry.replay) frame.replay = entry.replay;
    this.#send(frame);
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #receive(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.op === 'event') {
      const entry = this.#bySub.get(frame.sub);
      if (entry) for (const listener of entry.listeners) listener(frame);
    } else if (frame.op === 'ok' || frame.op === 'error') {
      const entry = [...this.#wanted.values()].find((candidate) => candidate.id === frame.id);
      if (entry && frame.op === 'ok') {
        entry.sub = frame.sub;
        this.#bySub.set(frame.sub, entry);
      }
    } else if (frame.op === 'lagged' || frame.type === 'lagged') {
      this.#tell('live', { missed: frame.missed });
    } else {
      for (const listener of this.#server) listener(frame);
    }
  }

  async #lost(code) {
    this.#socket = null;
    this.#bySub.clear();
    if (this.#closing) return;
    this.#tell('offline');
    this.#attempt += 1;
    // 4401 and a refused upgrade both may mean that the access token ran out; renewing is cheap and tells which.
    const signedIn = await renew().catch(() => true);
    if (!signedIn) toLogin();
    const limit = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (this.#attempt - 1));
    const wait = code === 4401 && signedIn ? 0 : limit * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#retryNow(), wait);
  }

  #retryNow() {
    clearTimeout(this.#timer);
    if (!this.#socket) this.start();
  }

  #tell(state, detail = {}) {
    this.state = state;
    for (const listener of this.#states) listener(state, detail);
  }

  close() {
    this.#closing = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
  }

  reopen() {
    this.#closing = false;
    this.#retryNow();
  }
}

export const live = new Live();
export const platform = document.documentElement.dataset.platform || '';

// Pages kept for the back button must not hold sockets, and need them again when shown.
addEventListener('pagehide', () => live.close());
addEventListener('pageshow', (event) => { if (event.persisted) live.reopen(); });
