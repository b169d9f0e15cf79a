// The agent's worker: it keeps what the Go program cannot reach by itself (IndexedDB,
// bundles, the ports of pods) and starts it. The page owns the frames, since a worker
// has no document.
'use strict';

{{wasm_exec.js}}

const PING_MS = 1000;
const FRAME_LOST_MS = 15000;  // a frame that is silent for so long is gone
const UNBORN_MS = 500;        // a pack that never came to its event loop is not waited for longer at a stop

let db, settings, command = () => {}, nextFrame = 0, spare = null;
const queue = [];  // commands that came before the program
const frames = new Map();
const running = new Map();
let beaten = performance.now();
let worked = 0, working = false; // milliseconds that this thread had to do for who pays, and for the program

self.onmessage = async ({ data: m }) => {
  if (m.t === 'init') return boot(m);
  if (m.t === 'lost') return lost(frames.get(m.frame), 'the browser ended the frame of the pod');
  queue.push(JSON.stringify(m));
  command();
};

async function boot(m) {
  settings = m;
  try {
    db = await openDatabase(m.database);
    const identity = await request('state', 'readonly', (s) => s.get('identity'));
    if (identity) postMessage({ t: 'identity', ...JSON.parse(identity) });
    await request('files', 'readwrite', (store) => store.clear());
    const go = new Go();
    const resume = go._resume;
    go._resume = () => work(() => resume.call(go));
    const { instance } = await WebAssembly.instantiateStreaming(fetch('{{agent.wasm}}'), go.importObject);
    spare = makeFrame();
    await go.run(instance);
    postMessage({ t: 'ended' });
  } catch (err) {
    postMessage({ t: 'broken', message: String(err?.message ?? err) });
  }
}

// ---- what the Go program calls ----

globalThis.stark = {
  onCommand(f) { command = f; if (queue.length) f(); },
  take: () => queue.shift() ?? null,
  tell: (json) => postMessage(JSON.parse(json)),
  get: (key) => request('state', 'readonly', (s) => s.get(key)),
  async put(key, value) {
    await request('state', 'readwrite', (s) => s.put(value, key));
    if (key === 'identity') postMessage({ t: 'identity', ...JSON.parse(value) });
  },
  delete: (key) => request('state', 'readwrite', (s) => s.delete(key)),
  keys: (prefix) => request('state', 'readonly', (s) => s.getAllKeys(IDBKeyRange.bound(prefix, prefix + '\uffff'))),
  dial, bundle, start,
};

// dial opens a WebSocket and gives it once it is open. message and closed are called
// from then on.
function dial(url, protocol, message, closed) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, protocol);
    let open = false;
    ws.onopen = () => { open = true; resolve(ws); };
    ws.onmessage = (e) => message(typeof e.data === 'string' ? e.data : '');
    ws.onclose = (e) => {
      if (open) closed(e.code, e.reason);
      else reject(new Error(`the connection could not be opened (${e.code})`));
    };
  });
}

// work does something, counts the time that it takes, and returns it, in milliseconds. What
// is done within other work belongs to that.
function work(f) {
  if (working) { f(); return 0; }
  const began = performance.now();
  working = true;
  try { f(); } finally { working = false; worked += performance.now() - began; }
  return performance.now() - began;
}

// time is that of an Account.
function time() {
  const at = performance.now();
  return { at, idle: at - worked };
}

// ---- IndexedDB ----

function openDatabase(name) {
  return new Promise((resolve, reject) => {
    const r = indexedDB.open(name, 1);
    r.onupgradeneeded = () => {
      for (const store of ['state', 'bundles', 'used', 'files']) r.result.createObjectStore(store);
    };
    r.onsuccess = () => resolve(r.result);
    r.onerror = () => reject(r.error);
    r.onblocked = () => reject(new Error('another tab holds an older database of this node'));
  });
}

// request runs one request in a transaction of its own, and is done when that is durable.
function request(store, mode, f) {
  return new Promise((resolve, reject) => {
    const t = db.transaction(store, mode, { durability: 'strict' });
    const r = f(t.objectStore(store));
    t.oncomplete = () => resolve(r?.result);
    t.onerror = t.onabort = () => reject(t.error ?? new Error('the transaction was ended'));
  });
}

// ---- bundles ----

// bundle reports whether a bundle is in the cache; with an address it fetches it first.
// The bytes never enter the Go program.
async function bundle(digest, size, url) {
  const kept = await request('bundles', 'readonly', (s) => s.get(digest));
  if (kept) {
    await request('used', 'readwrite', (s) => s.put(Date.now(), digest));
    return true;
  }
  if (!url) return false;
  const body = await download(url, size);
  const sum = [...new Uint8Array(await crypto.subtle.digest('SHA-256', body))].map((b) => b.toString(16).padStart(2, '0')).join('');
  if (sum !== digest) throw new Error('the bundle has another digest than the pack');
  await trim(body.byteLength);
  await request('bundles', 'readwrite', (s) => s.put(new Blob([body]), digest));
  await request('used', 'readwrite', (s) => s.put(Date.now(), digest));
  return true;
}

async function download(url, size) {
  // No Referer and no cookies: the address is signed, and nobody's but ours.
  const response = await fetch(url, { credentials: 'omit', referrerPolicy: 'no-referrer', cache: 'no-store', signal: AbortSignal.timeout(5 * 60_000) })
    .catch((err) => { throw new Error(`fetch the bundle: ${err.name === 'TimeoutError' ? 'no answer in time' : 'no answer'}`); });
  if (!response.ok) throw new Error(`fetch the bundle: status ${response.status}`);
  const whole = new Uint8Array(size);
  let at = 0;
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > size) { reader.cancel(); throw new Error(`the bundle is larger than the ${size} bytes announced`); }
    whole.set(value, at);
    at += value.length;
  }
  if (at !== size) throw new Error(`the bundle has ${at} bytes, not the ${size} announced`);
  return whole;
}

// trim makes room: what was not used for longest goes first.
async function trim(more) {
  const used = await new Promise((resolve, reject) => {
    const all = [], t = db.transaction('used');
    t.objectStore('used').openCursor().onsuccess = (e) => {
      const c = e.target.result;
      if (c) { all.push({ digest: c.key, at: c.value }); c.continue(); }
    };
    t.oncomplete = () => resolve(all.sort((a, b) => b.at - a.at));
    t.onerror = () => reject(t.error);
  });
  let total = more;
  for (const u of used) {
    total += (await request('bundles', 'readonly', (s) => s.get(u.digest)))?.size ?? 0;
    if (total <= settings.cacheBytes) continue;
    await request('bundles', 'readwrite', (s) => s.delete(u.digest));
    await request('used', 'readwrite', (s) => s.delete(u.digest));
  }
}

// ---- frames and pods ----

// makeFrame asks the page for a frame; one that shows something is visible in it.
function makeFrame(shown) {
  const { port1: port, port2 } = new MessageChannel();
  const f = { id: ++nextFrame, port, heard: performance.now(), pod: null, dead: false, shown };
  frames.set(f.id, f);
  port.onmessage = ({ data: m }) => {
    f.heard = performance.now();
    if (m?.t === 'killed') { if (f.pod?.ended) drop(f); } // who says so unasked may be a pack
    else if (m?.t === 'error') f.pod?.end({ reason: 'HostCrashed', message: word(m.message).slice(0, 4096) });
  };
  // Chromium tells when the other side's process has died.
  port.addEventListener('close', () => lost(f, 'the browser ended the process of the pod'));
  postMessage({ t: 'frame', id: f.id, shown }, [port2]);
  return f;
}

function drop(f) {
  if (f.dead) return;
  f.dead = true;
  frames.delete(f.id);
  f.port.close();
  postMessage({ t: 'drop', id: f.id });
  f.gone?.();
}

function lost(f, message) {
  if (!f || f.dead) return;
  if (f === spare) spare = null;
  f.pod?.end({ reason: 'HostCrashed', message });
  drop(f);
}

// start runs a bundle that is in the cache. event(type, json) tells what becomes of it:
// "ready", "lines", and "end" once nothing of it is left.
async function start(json, event) {
  const o = JSON.parse(json);
  const bundle = await request('bundles', 'readonly', (s) => s.get(o.digest));
  if (!bundle) throw new Error('the bundle has left the cache');
  const f = o.ui ? makeFrame(shownAs(o)) : spare ?? makeFrame();
  if (f === spare) spare = null;
  const { port1, port2 } = new MessageChannel();
  const pod = new Pod(o, f, port1, event);
  f.pod = pod;
  const tickets = Array.from({ length: TICKETS }, () => pod.account.ticket());
  f.port.postMessage({ t: 'run', order: { bundle, format: o.format, pod: o.pod, env: o.env, cores: o.cores, tickets } }, [port2]);
  setTimeout(() => { spare ??= makeFrame(); }, 100);
  return pod;
}

// shownAs is what the page needs to know of a pack that shows something: its metadata say
// {"ui": true}, or {"ui": {"height": 300}} in pixels.
function shownAs({ ui, pod }) {
  const height = Number.isFinite(ui.height) ? Math.min(2000, Math.max(60, Math.round(ui.height))) : 240;
  return { height, name: `${pod.name} ${pod.version}`, namespace: pod.namespace };
}

class Pod {
  constructor(o, frame, port, event) {
    Object.assign(this, {
      id: o.id, frame, port, event, unresponsiveMs: o.unresponsiveMs, files: new Files(o.id, o.storageBytes),
      asked: performance.now(), waiting: false, beats: 0, delay: 0, recent: 0, lately: 0, ready: false, outcome: null, stopping: false, ended: false, open: 0, held: 0,
      account: new Account(time),
    });
    running.set(this.id, this);
    port.onmessage = (e) => {
      if (this.ended) return;
      this.account.refill();
      let free = null;
      const took = work(() => { free = this.hear(e); });
      if (this.ended) return;
      if (!free) return this.paid(this.account.paysTime(took));
      worked -= took;
      const wait = this.account.wait(took, free.length);
      if (wait < AHEAD_MS) free.after();
      else setTimeout(free.after, wait);
    };
    // What cannot be read here, as a compiled module, has come all the same.
    port.onmessageerror = () => { this.account.refill(); this.paid(this.account.pays(TOLD_STRANGE)); };
    this.ping();
  }

  // paid ends the pod that may not tell so much: nobody else in this tab would be heard any more.
  paid(enough) {
    if (enough || this.ended) return enough;
    this.port.close(); // with all that waits in it
    this.kill('Error', 'the pod flooded the agent of its tab with messages');
    return false;
  }

  // hear hears a message, whose data is made when it is read. If the message was free it
  // gives what is to be done once the pod may tell more, and how many characters it had. What
  // comes often is a text: it holds no more than one sees.
  hear(e) {
    const m = e.data;
    if (typeof m === 'string' && m[0] === '{') return this.output(m);
    if (m === 'pong' && this.waiting) {
      this.answered(performance.now() - this.asked);
      return { after() {}, length: 0 };
    }
    if (m?.t === 'fs' && this.open < MAX_WAITING) return this.serve(m);
    if (!this.paid(this.account.pays(TOLD_MESSAGE))) return null;
    if (m === 'pong') return null; // of a question before
    if (m === 'ready') { this.ready = true; this.event('ready', ''); }
    else if (m?.t === 'outcome') this.end(sound(m.outcome));
    else this.paid(this.account.pays(TOLD_STRANGE));
    return null;
  }

  // output hears a batch of lines, free with a ticket.
  output(text) {
    const m = text.length > OUT_LONGEST ? null : parsed(text);
    if (!m) return void this.paid(this.account.pays(TOLD_STRANGE + text.length));
    const free = this.account.takes(m.ticket);
    if (!free && !this.paid(this.account.pays(TOLD_MESSAGE + text.length))) return null;
    this.lines(m);
    if (!free) return null;
    const after = () => { if (!this.ended) this.port.postMessage({ t: 'ticket', ticket: this.account.ticket() }); };
    return { after, length: text.length };
  }

  answered(delay) {
    this.beats++;
    this.waiting = false;
    this.lately = delay;
    this.recent = Math.max(this.recent, delay);
    this.delay = Math.max(this.delay, delay);
  }

  lines(m) {
    const latest = Date.now();
    const lines = (Array.isArray(m.lines) ? m.lines : []).slice(0, 4096)
      .map((l) => [word(l?.[0]).slice(0, 8), past(l?.[1], latest), word(l?.[2]).slice(0, 16 * 1024 + 8)]);
    this.event('lines', JSON.stringify({ lines, dropped: Number.isSafeInteger(m.dropped) ? Math.max(0, m.dropped) : 0 }));
  }

  // serve answers a question about storage, once both the answer is there and the pod may
  // ask for more. What comes with it, and what goes back, is memory of the agent meanwhile:
  // as much as the pod may keep is free.
  serve({ id, op, args }) {
    if (!Number.isSafeInteger(id) || !Array.isArray(args) || args.some(strange)) return void this.paid(this.account.pays(TOLD_STRANGE));
    if (!this.holds(weight(args))) return null;
    this.open++;
    const answer = this.ask(op, args);
    return { after: async () => { this.answer(id, await answer); this.open--; }, length: 0 };
  }

  // holds takes so many bytes more, and reports whether the pod may go on.
  holds(bytes) {
    this.held += bytes;
    return this.held <= this.files.limit + HELD_MORE || this.paid(this.account.pays(bytes));
  }

  async ask(op, args) {
    try {
      const value = await this.files.run(String(op), args);
      this.holds(weight([value]));
      return this.ended ? {} : { value };
    } catch (err) {
      return { error: { code: String(err?.code ?? 'EIO'), message: String(err?.message ?? err) } };
    } finally {
      this.held -= weight(args);
    }
  }

  answer(id, body) {
    if (this.ended) return;
    this.held -= weight([body.value]);
    try {
      this.port.postMessage({ t: 'answer', id, ...body });
    } catch {
      this.port.postMessage({ t: 'answer', id, error: { code: 'EIO', message: 'the answer cannot be sent' } });
    }
  }

  // recentDelay is the longest that the pod took for an answer since it was asked for, in
  // milliseconds. Of a worker a browser tells nothing else.
  recentDelay() {
    const d = Math.max(this.recent, this.waiting ? performance.now() - this.asked : 0);
    this.recent = 0;
    return Math.round(d);
  }

  ping() {
    this.waiting = true;
    this.asked = performance.now();
    this.port.postMessage({ t: 'ping' });
  }

  stop() {
    if (this.stopping || this.ended) return;
    this.stopping = true;
    this.port.postMessage({ t: 'stop' });
    setTimeout(() => { if (!this.beats && !this.ready) this.kill('Stopped', 'was still loading and was ended at once'); }, UNBORN_MS);
  }

  kill(reason, message) { this.end({ reason, message }, true); }

  // end is the end of the run: the first word counts, and it is told when the worker is gone.
  end(outcome, killed = false) {
    if (this.ended) return;
    this.ended = this.files.closed = true;
    let o = outcome;
    if (this.stopping && o.reason !== 'OOMKilled' && !killed) o = { reason: 'Stopped', message: o.reason === 'Completed' ? '' : o.message };
    const f = this.frame;
    f.gone = () => {
      running.delete(this.id);
      this.port.close();
      this.files.close().catch(() => {}).then(() => this.event('end', JSON.stringify({ ...o, delayMs: Math.round(this.delay) })));
    };
    if (f.dead) return f.gone();
    f.port.postMessage({ t: 'kill' });
    setTimeout(() => drop(f), 1000); // a thread that does not even hear this goes with its frame
  }
}

// word takes a text that a pack may have made up. Not all that can be posted can be made
// a text, and what is thrown here the whole tab would be blamed for.
function word(v) { return typeof v === 'string' ? v : ''; }

// parsed gives the object that a text is of, or nothing.
function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}

// past takes a time in milliseconds that is not after now.
function past(v, now) { return Number.isFinite(v) && v > 0 && v < now ? v : now; }

// sound takes the outcome that a worker tells, which a pack may have made up.
function sound(o) {
  const known = ['Completed', 'Error', 'PackLoadError', 'Stopped'];
  return {
    reason: known.includes(o?.reason) ? o.reason : 'Error',
    message: word(o?.message).slice(0, 4096),
    code: Number.isInteger(o?.code) ? o.code : undefined,
  };
}

setInterval(() => {
  const t = performance.now();
  const slept = t - beaten > 5 * PING_MS; // this thread itself stood still: nobody can be blamed
  const delays = [...running.values()].map((p) => [p.id, Math.round(p.waiting ? t - p.asked : p.lately)]);
  postMessage({ t: 'beat', late: Math.max(0, t - beaten - PING_MS), delays });
  beaten = t;
  for (const f of frames.values()) {
    if (slept) f.heard = t;
    if (f.shown && f.pod) continue; // its thread is the pod's, which is watched below
    if (t - f.heard > FRAME_LOST_MS) lost(f, 'the frame of the pod does not answer any more');
    else f.port.postMessage({ t: 'ping' });
  }
  for (const p of running.values()) {
    if (slept) p.asked = t;
    if (!p.waiting) p.ping();
    else if (p.unresponsiveMs > 0 && t - p.asked > p.unresponsiveMs && !p.stopping) {
      p.kill('Unresponsive', `the event loop stood still for ${Math.round((t - p.asked) / 1000)} s`);
    }
  }
}, PING_MS);

{{told.js}}

{{files.js}}
