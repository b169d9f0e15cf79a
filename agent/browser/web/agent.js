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
async function request(store, mode, f) { return (await transaction(store, mode, f))?.result; }

// transaction is request, but gives the request: its result is made when it is read.
function transaction(store, mode, f) {
  return new Promise((resolve, reject) => {
    const t = db.transaction(store, mode, { durability: 'strict' });
    const r = f(t.objectStore(store));
    t.oncomplete = () => resolve(r);
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
  port.onmessage = port.onmessageerror = (e) => {
    f.heard = performance.now();
    if (f.pod && !f.pod.ended) f.pod.arrives(e, f.pod.hearFrame);
    else if (f.pod && e.data?.t === 'killed') drop(f);
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

// start runs a bundle that is in the cache. event tells what becomes of it: "ready", "lines"
// with those packed and how many were dropped, and "end" with the outcome as JSON once nothing
// of it is left.
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
      id: o.id, frame, port, event, unresponsiveMs: o.unresponsiveMs, files: new Files(o.id, o.storageBytes, (work) => turns.add(this.lane, work)),
      asked: performance.now(), waiting: false, beats: 0, delay: 0, recent: 0, lately: 0, ready: false, outcome: null, stopping: false, ended: false, open: 0, held: 0, began: 0,
      account: new Account(() => performance.now()), lane: turns.lane(), unheard: [],
    });
    running.set(this.id, this);
    // What cannot be read here, as a compiled module, comes as nothing.
    port.onmessage = port.onmessageerror = (e) => this.arrives(e, this.hear);
    this.ping();
  }

  // arrives keeps a message until it is the pod's turn: its data is made when it is read.
  arrives(e, hear) {
    if (this.ended || this.behind() && !this.pays(TOLD_UNHEARD)) return;
    this.unheard.push({ e, hear, at: performance.now() });
    turns.add(this.lane, () => {
      const m = this.unheard.shift();
      this.began = performance.now();
      if (m) m.hear.call(this, m.e, m.at);
    });
  }

  // behind reports whether more waits than of a pod whose runtime is ours.
  behind() { return this.unheard.length >= MOST_UNHEARD; }

  // pays ends the pod that may not tell so much, and reports whether it goes on.
  pays(cost) {
    this.account.refill(this.behind());
    if (this.ended || this.account.pays(cost)) return !this.ended;
    this.port.close(); // with all that waits in it
    this.kill('Error', 'the pod flooded the agent of its tab with messages');
    return false;
  }

  // strange has the pod pay for what no runtime says, and for the time that it took to read.
  strange(length = 0) {
    this.pays(TOLD_STRANGE + length + (performance.now() - this.began) * TOLD_TIME);
  }

  // hear hears a message that came at a time. What comes often is a text: it holds no more
  // than one sees.
  hear(e, at) {
    const m = e.data;
    if (typeof m === 'string' && m[0] === '{') return this.output(m);
    if (m === 'pong' && this.waiting) return this.answered(Math.max(0, at - this.asked));
    if (m?.t === 'fs' && this.open < MAX_WAITING) return this.serve(m);
    if (!this.pays(TOLD_MESSAGE) || m === 'pong') return; // of a question before
    if (m === 'ready') { this.ready = true; this.event('ready'); }
    else if (m?.t === 'outcome') this.end(sound(m.outcome));
    else this.strange();
  }

  // hearFrame hears the frame. If that shows something, it is the pack's own, and has nothing
  // more to say.
  hearFrame(e) {
    const m = e.data;
    if (m?.t === 'error') this.end({ reason: 'HostCrashed', message: word(m.message).slice(0, 4096) });
    else if (this.frame.shown) this.strange();
  }

  // output hears a batch of lines, free with a ticket.
  output(text) {
    const m = text.length > OUT_LONGEST ? null : parsed(text);
    if (!m) return this.strange(text.length);
    const free = this.account.takes(m.ticket);
    if (!free && !this.pays(TOLD_MESSAGE + text.length)) return;
    this.lines(m);
    if (!free) return;
    const wait = this.account.wait(text.length);
    if (wait < AHEAD_MS) this.giveTicket();
    else setTimeout(() => this.giveTicket(), wait);
  }

  giveTicket() {
    if (!this.ended) this.port.postMessage({ t: 'ticket', ticket: this.account.ticket() });
  }

  answered(delay) {
    this.beats++;
    this.waiting = false;
    this.lately = delay;
    this.recent = Math.max(this.recent, delay);
    this.delay = Math.max(this.delay, delay);
  }

  lines(m) {
    const lines = Array.isArray(m.lines) ? m.lines.slice(0, 4096) : [];
    this.event('lines', packed(lines), Number.isSafeInteger(m.dropped) ? Math.max(0, m.dropped) : 0);
  }

  // serve answers a question about storage. What comes with it is memory of the agent
  // meanwhile: as much as the pod may keep is free.
  serve(m) {
    if (!asked(m)) return this.strange();
    const { id, op, args } = m;
    this.held += weight([op, ...args]);
    if (this.held > this.files.limit + HELD_MORE && !this.pays(weight([op, ...args]))) return;
    this.open++;
    this.files.run(this.question(id, op, args));
  }

  // question is what is done for one, see Files.run.
  *question(id, op, args) {
    let body;
    try {
      body = { value: yield* this.files.operation(String(op), args) };
    } catch (err) {
      body = { error: { code: String(err?.code ?? 'EIO'), message: String(err?.message ?? err) } };
    }
    this.held -= weight([op, ...args]);
    this.open--;
    this.answer(id, body);
  }

  answer(id, body) {
    if (this.ended) return;
    try {
      this.port.postMessage({ t: 'answer', id, ...body });
    } catch {
      this.port.postMessage({ t: 'answer', id, error: { code: 'EIO', message: 'the answer cannot be sent' } });
    }
  }

  // recentDelay is the longest that the pod took for an answer since it was asked for, in
  // milliseconds. Of a worker a browser tells nothing else.
  recentDelay() {
    const d = Math.max(this.recent, this.silence(performance.now()));
    this.recent = 0;
    return Math.round(d);
  }

  // silence is how long the pod owes an answer at a time, as far as it was heard.
  silence(at) { return this.waiting ? Math.max(0, (this.unheard[0]?.at ?? at) - this.asked) : 0; }

  ping() {
    this.waiting = true;
    this.asked = performance.now();
    this.port.postMessage({ t: 'ping' });
  }

  stop() {
    if (this.stopping || this.ended) return;
    this.stopping = true;
    this.port.postMessage({ t: 'stop' });
    setTimeout(() => { if (!this.beats && !this.ready && !this.unheard.length) this.kill('Stopped', 'was still loading and was ended at once'); }, UNBORN_MS);
  }

  kill(reason, message) { this.end({ reason, message }, true); }

  // end is the end of the run: the first word counts, and it is told when the worker is gone.
  end(outcome, killed = false) {
    if (this.ended) return;
    this.ended = this.files.closed = true;
    this.unheard = [];
    let o = outcome;
    if (this.stopping && o.reason !== 'OOMKilled' && !killed) o = { reason: 'Stopped', message: o.reason === 'Completed' ? '' : o.message };
    const f = this.frame;
    f.gone = () => {
      running.delete(this.id);
      this.port.close();
      this.files.close().catch(() => {}).then(() => this.event('end', JSON.stringify({ ...o, delayMs: Math.round(this.delay) })));
    };
    if (f.dead) return f.gone();
    if (f.shown) return drop(f); // its thread is the pack's, which may not answer, or not stop to
    f.port.postMessage({ t: 'kill' });
    setTimeout(() => drop(f), 1000); // a thread that does not even hear this goes with its frame
  }
}

setInterval(() => {
  const t = performance.now();
  const slept = t - beaten > 5 * PING_MS; // this thread itself stood still: nobody can be blamed
  const delays = [...running.values()].map((p) => [p.id, Math.round(p.waiting ? p.silence(t) : p.lately)]);
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
    else if (p.unresponsiveMs > 0 && p.silence(t) > p.unresponsiveMs && !p.stopping) {
      p.kill('Unresponsive', `the event loop stood still for ${Math.round(p.silence(t) / 1000)} s`);
    }
  }
}, PING_MS);

{{turns.js}}
const turns = new Turns(() => performance.now(), (f, ms) => setTimeout(f, ms));

{{told.js}}

{{files.js}}
