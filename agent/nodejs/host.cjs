// One host process of Stark's Node.js runtime. The main thread supervises: it speaks
// with the agent over file descriptor 3 (4-byte big-endian length, then JSON), runs
// packs in worker threads, watches their event loops and passes their output on. It
// never runs code of a pack. When fd 3 closes, the agent is gone and so is the host
// with everything in its process group. Behind this file stands agent/adapters'
// script, which both runtimes share.
//
// A CommonJS file, because that starts 8 ms of CPU time faster, twice per host.
'use strict';

const { Worker, isMainThread, workerData, MessageChannel, receiveMessageOnPort } = require('node:worker_threads');

const MAX_LINE = 16 * 1024;          // bytes of one line, the rest is cut off
const MAX_BACKLOG = 4 * 1024 * 1024; // bytes waiting for the agent before output is dropped
const WATCH_MS = 500;                // rhythm of the event-loop watch
const PULSE_TICKS = 4;               // of the watch, from one live figure to the next
const STREAMS = ['log', 'stdout', 'stderr']; // by their numbers on the way to the agent
const KEPT = 100;                    // newest lines that are kept when others are dropped
const LOST_MS = 500;                 // how long the host outlives its channel to the agent
const LAST_WORDS_MS = 5000;          // how long a pack waits for its output before it kills its process, should the agent be busy

if (isMainThread) supervise();
else serve();

function supervise() {
  const config = JSON.parse(process.argv[2]);
  const workers = new Map();
  let spare = spawn(config.heap); // first: its thread starts while this one loads the rest
  const { Socket } = require('node:net');
  const socket = new Socket({ fd: 3, readable: true, writable: true });
  let ticks = 0, ticker = null;

  // SIGTERM comes from the kernel when the agent dies first.
  const die = () => { try { process.kill(-process.pid, 'SIGKILL'); } finally { process.exit(1); } };
  process.on('SIGTERM', die);
  // When the pack has closed fd 3, the agent shall see that we still lived.
  const lost = () => setTimeout(die, LOST_MS);
  socket.on('error', lost);
  socket.on('close', lost);
  readFrames(socket, (m) => {
    if (m.t === 'start') start(m);
    else if (m.t === 'stop') stop(m);
    else if (m.t === 'kill') kill(workers.get(m.id), m.reason, m.message);
  }, die);

  function send(m, done) {
    const body = Buffer.from(JSON.stringify(m));
    const head = Buffer.allocUnsafe(4);
    head.writeUInt32BE(body.length);
    socket.cork();
    socket.write(head);
    socket.write(body, done);
    process.nextTick(() => socket.uncork());
  }

  // A worker that waits for its bundle. Everything a pack needs at its start is
  // loaded already.
  function spawn(heap) {
    const { port1, port2 } = new MessageChannel();
    const beat = new Float64Array(new SharedArrayBuffer(24)); // [time of the last beat, 0 while not watched; beats; bytes in use]
    const w = {
      id: '', heap, port: port1, beat, lines: [], late: [], bytes: 0, lost: 0, delay: 0, recent: 0, ready: false, flushing: false, draining: false, ended: false, outcome: null, stopping: null, timer: null,
    };
    w.thread = new Worker(__filename, {
      workerData: { port: port2, beat }, transferList: [port2], env: {}, stdout: true, stderr: true,
      resourceLimits: heap > 0 ? { maxOldGenerationSizeMb: heap } : {},
    });
    // Only what the runtime itself writes comes here; the pack's output has its own way.
    w.thread.stdout.on('data', (b) => output(w, ['stdout', Date.now(), String(b)]));
    w.thread.stderr.on('data', (b) => output(w, ['stderr', Date.now(), String(b)]));
    w.thread.once('online', () => { if (!w.id) send({ t: 'warm' }); });
    w.thread.on('error', (err) => { w.outcome ??= fromError(err); });
    w.thread.on('exit', (code) => exited(w, code));
    port1.on('message', (m) => fromWorker(w, m));
    return w;
  }

  function start(m) {
    let w = spare;
    spare = null;
    if (w && (w.heap !== m.heap || w.ended)) {
      w.id = 'discarded';
      w.discarded = true;
      w.thread.terminate();
      w = null;
    }
    w ??= spawn(m.heap);
    w.id = m.id;
    w.unresponsiveMs = m.unresponsiveMs;
    w.storage = storageOf(m.pod);
    workers.set(m.id, w);
    ticker ??= setInterval(tick, WATCH_MS).unref(); // a host that waits for its first pack sleeps
    w.port.postMessage({ t: 'start', file: m.file, pod: m.pod, env: m.env, storageBytes: m.storageBytes });
  }

  function fromWorker(w, m) {
    if (m.t === 'out') output(w, m.line, m.dropped);
    else if (m.t === 'ready') { w.ready = true; flush(w); send({ t: 'ready', id: w.id }); }
    else if (m.t === 'outcome') w.outcome ??= m.outcome;
    else if (m.t === 'last') lastWords(w, m);
  }

  // The pack is about to kill this process: its output and who it was go first.
  function lastWords(w, m) {
    flush(w);
    send({ t: 'last', id: w.id, reason: m.signal }, () => {
      Atomics.store(m.done, 0, 1);
      Atomics.notify(m.done, 0);
    });
  }

  function stop(m) {
    const w = workers.get(m.id);
    if (!w || w.stopping) return;
    w.stopping = { message: '' };
    w.port.postMessage({ t: 'stop' });
    endIfUnborn(w, Date.now() - w.beat[0] - WATCH_MS);
    if (m.graceMs !== undefined) {
      w.timer = setTimeout(() => kill(w, 'Stopped', `did not stop within ${seconds(m.graceMs)} s and was killed`), Math.max(m.graceMs, 0));
    }
  }

  // A pack that has never come to its event loop cannot hear of the stop, and has
  // nothing to bring to an end.
  function endIfUnborn(w, late) {
    if (w.beat[0] && !w.beat[1] && !w.ready && late > WATCH_MS) kill(w, 'Stopped', 'was still loading and was ended at once');
  }

  function kill(w, reason, message) {
    if (!w || w.ended) return;
    w.outcome = { reason, message };
    w.thread.terminate();
  }

  function exited(w, code) {
    for (let r; (r = receiveMessageOnPort(w.port)); ) fromWorker(w, r.message);
    w.ended = true;
    w.port.close();
    clearTimeout(w.timer);
    if (w.discarded) return;
    if (!w.id) die(); // a spare that dies is of no use to anybody
    let o = w.outcome ?? (code === 0 ? { reason: 'Completed' } : { reason: 'Error', message: `the pack called process.exit(${code})` });
    if (w.stopping && o.reason !== 'OOMKilled') o = { reason: 'Stopped', message: o.reason === 'Completed' ? '' : o.message };
    flush(w);
    workers.delete(w.id);
    if (w.storage) require('node:fs').rm(w.storage, { recursive: true, force: true }, () => {});
    send({ t: 'exit', id: w.id, code: o.code ?? code, reason: o.reason, message: bound(o.message), delayMs: Math.round(w.delay), cpuMs: Math.round(w.cpu ?? 0) });
  }

  // A slow agent costs lines, never memory; the newest are kept. What is lost is counted
  // where it is missing, by an entry of its own.
  function output(w, line, dropped = 0) {
    const full = socket.writableLength + w.bytes > MAX_BACKLOG;
    if (!full) admitLate(w);
    const list = full ? w.late : w.lines;
    if (dropped) list.push(gap(dropped));
    if (line) list.push(line);
    while (w.late.length > KEPT) w.lost += w.late.shift()[3] ?? 1;
    if (full) {
      if (!w.draining) socket.once('drain', () => { w.draining = false; flush(w); });
      w.draining = true;
      return;
    }
    w.bytes += (line?.[2].length ?? 0) + 32;
    if (w.bytes > 64 * 1024) flush(w);
    else schedule(w);
  }

  function gap(lines) { return ['log', Date.now(), '', lines]; }

  function admitLate(w) {
    if (w.lost) w.lines.push(gap(w.lost));
    w.lost = 0;
    if (w.late.length) w.lines.push(...w.late.splice(0));
  }

  function schedule(w) {
    if (w.flushing) return;
    w.flushing = true;
    setImmediate(() => flush(w));
  }

  function flush(w) {
    w.flushing = false;
    if (socket.writableLength <= MAX_BACKLOG || w.ended) admitLate(w);
    if (!w.lines.length) return;
    // By columns, which the agent reads several times faster than line by line.
    const { lines } = w;
    send({
      t: 'out', id: w.id, streams: lines.map((l) => STREAMS.indexOf(l[0])), times: lines.map((l) => l[1]),
      texts: lines.map((l) => l[2]), gaps: lines.map((l) => l[3] ?? 0),
    });
    w.lines = [];
    w.bytes = 0;
  }

  // One timer for both: each wake-up of an idle host costs more than what it does.
  function tick() {
    watch();
    if (++ticks % PULSE_TICKS === 0) pulse();
  }

  function watch() {
    const now = Date.now();
    for (const w of workers.values()) {
      w.cpu = w.thread.performance.eventLoopUtilization().active;
      if (!w.beat[0]) continue;
      const late = now - w.beat[0] - WATCH_MS;
      w.delay = Math.max(w.delay, late);
      w.recent = Math.max(w.recent, late);
      if (w.unresponsiveMs > 0 && late > w.unresponsiveMs && !w.stopping) {
        kill(w, 'Unresponsive', `the event loop stood still for ${Math.round(late / 1000)} s`);
      }
      if (w.stopping) endIfUnborn(w, late);
    }
  }

  // Live figures: the longest delay since the last pulse, and what the pack's own heap
  // and buffers take.
  function pulse() {
    for (const w of workers.values()) {
      if (!w.beat[0]) continue;
      send({ t: 'pulse', id: w.id, delayMs: Math.round(w.recent), bytes: Math.round(w.beat[2]) });
      w.recent = 0;
    }
  }

  function fromError(err) {
    if (err?.code === 'ERR_WORKER_OUT_OF_MEMORY') return { reason: 'OOMKilled', message: err.message };
    return { reason: 'Error', message: describe(err), code: 1 };
  }
}

function readFrames(socket, handle, fail) {
  let buffered = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    buffered = buffered.length ? Buffer.concat([buffered, chunk]) : chunk;
    while (buffered.length >= 4) {
      const n = buffered.readUInt32BE(0);
      if (n > 16 * 1024 * 1024) return fail();
      if (buffered.length < 4 + n) return;
      const m = JSON.parse(buffered.subarray(4, 4 + n).toString());
      buffered = buffered.subarray(4 + n);
      handle(m);
    }
  });
}

function describe(err) {
  if (err instanceof Error || typeof err?.stack === 'string') {
    const text = String(err.stack || err);
    const cause = err.cause === undefined ? '' : `\ncaused by: ${describe(err.cause)}`;
    return text + cause;
  }
  try { return typeof err === 'string' ? err : `thrown: ${JSON.stringify(err) ?? String(err)}`; } catch { return 'thrown: a value that cannot be shown'; }
}

// Grace periods are whole seconds; what is on its way for some milliseconds is not news.
function seconds(ms) {
  return ms < 500 ? ms / 1000 : Math.round(ms / 100) / 10;
}

function bound(text = '') {
  return text.length > 4096 ? text.slice(0, 4096) + ' …' : text;
}

// serve is the worker's side: it waits for a bundle, then belongs to the pack.
function serve() {
  const { port, beat } = workerData;
  delete workerData.port; // the pack shall not find the way to the supervisor
  delete workerData.beat;
  const { createRequire } = require('node:module');
  const { getEventListeners } = require('node:events');
  const { pathToFileURL } = require('node:url');
  const { format } = require('node:util');
  const { StringDecoder } = require('node:string_decoder');
  const { getHeapStatistics } = require('node:v8');
  const exit = process.exit.bind(process);
  const capture = capturer(port, StringDecoder);
  process.kill = killer(port, capture, process.kill.bind(process), process.pid);
  const aborter = new AbortController();
  const handlers = [];
  let polled = false;
  let finished = null;
  let settled = false;

  port.on('message', (m) => (m.t === 'start' ? start(m) : stop()));

  function end(outcome) {
    if (settled) return;
    settled = true;
    capture.flush();
    port.postMessage({ t: 'outcome', outcome });
    exit(outcome.code ?? 0);
  }

  function weigh() {
    const heap = getHeapStatistics();
    beat[2] = heap.used_heap_size + heap.malloced_memory + heap.external_memory;
  }

  async function start({ file, pod, env, storageBytes }) {
    Object.assign(process.env, env);
    beat[0] = Date.now();
    setInterval(() => {
      beat[0] = Date.now();
      if (beat[1]++ % 2 === 0) weigh();
      capture.tick();
    }, WATCH_MS).unref();
    let pack;
    try {
      pack = file.endsWith('.cjs') ? createRequire(file)(file) : await import(pathToFileURL(file).href);
      for (let i = 0; i < 2 && typeof pack !== 'function'; i++) pack = pack?.default;
      if (typeof pack !== 'function') throw new Error('the bundle exports no default function');
    } catch (err) {
      return end({ reason: 'PackLoadError', message: describe(err), code: 1 });
    }
    let isReady = false;
    const ready = () => {
      if (isReady || settled) return;
      isReady = true;
      port.postMessage({ t: 'ready' });
    };
    try {
      const result = pack(context(pod, env, ready, storageBytes));
      if (typeof result?.then === 'function') {
        finished = result;
        setImmediate(ready);
        await result;
      }
      const code = Number(process.exitCode ?? 0);
      end(code === 0 ? { reason: 'Completed', code } : { reason: 'Error', message: `the pack ended with process.exitCode ${code}`, code });
    } catch (err) {
      end({ reason: 'Error', message: describe(err), code: 1 });
    }
  }

  function context(pod, env, ready, storageBytes) {
    const { signal } = aborter;
    // Who asks whether the signal is aborted will act on it, like who listens.
    Object.defineProperty(signal, 'aborted', {
      get() {
        polled = true;
        return Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted').get.call(signal);
      },
    });
    const c = {
      pod: Object.freeze(pod),
      env: Object.freeze({ ...env }),
      signal,
      log: logger(),
      ready,
      onStop(fn) {
        if (typeof fn !== 'function') throw new TypeError('onStop takes a function');
        handlers.push(fn);
      },
    };
    return Object.freeze(Object.defineProperties(c, Object.getOwnPropertyDescriptors(starkAdapters(platform(storageOf(pod), storageBytes)))));
  }

  function logger() {
    const write = (level) => (message, fields) => capture.line('log',
      `${level} ${format(message)}${fields === undefined ? '' : ' ' + show(fields)}`);
    return Object.freeze(Object.assign(write('INFO'), {
      debug: write('DEBUG'), info: write('INFO'), warn: write('WARN'), error: write('ERROR'),
    }));
  }

  function show(fields) {
    try { return JSON.stringify(fields); } catch { return format(fields); }
  }

  // A pack that neither listens nor has handlers has nothing to do at a stop. One
  // that listens is given the time until its function is done.
  async function stop() {
    const waits = polled || getEventListeners(aborter.signal, 'abort').length > 0;
    aborter.abort(new DOMException('The pod is stopped.', 'AbortError'));
    let failure = '';
    for (const fn of handlers.reverse()) {
      try { await fn(); } catch (err) { failure ||= `a stop handler failed: ${describe(err)}`; }
    }
    if (waits && finished) await finished.then(() => {}, () => {});
    end({ reason: 'Stopped', message: failure, code: 0 });
  }
}

// storageOf is where the adapter keeps the files of a run. Pods that share a process
// have folders of their own.
function storageOf(pod) {
  return require('node:path').join(process.cwd(), 'storage', `${pod.id}-${pod.incarnation}-${pod.attempt}`);
}

// platform is what the adapters cannot do by themselves. Most packs never ask.
function platform(root, storageBytes) {
  let files;
  return {
    get cores() { return require('node:os').availableParallelism(); },
    fs(op, path, ...args) {
      files ??= nodeFiles(root, storageBytes);
      return files(op, path, args);
    },
    spawn(source, handle) {
      const prefix = `const { parentPort } = require('node:worker_threads');
        const on = (f) => parentPort.on('message', f), send = (m) => parentPort.postMessage(m);`;
      const w = new Worker(prefix + source, { eval: true });
      w.on('message', handle.message);
      w.on('error', handle.failed);
      w.on('exit', () => handle.failed(new Error('the worker has ended')));
      return { post: (m, transfer) => w.postMessage(m, transfer), terminate: () => w.terminate() };
    },
  };
}

// nodeFiles does what the storage adapter asks for below a folder, which it lets grow to
// limit bytes, where that is not 0. Where systems differ in what they answer, it asks first.
function nodeFiles(root, limit) {
  const fs = require('node:fs/promises');
  const { join } = require('node:path');
  const refuse = (code) => { throw Object.assign(new Error(code), { code }); };
  const made = fs.mkdir(root, { recursive: true });
  const isFolder = async (path) => (await fs.stat(path)).isDirectory();
  const ops = {
    read: (path) => fs.readFile(path),
    write: (path, data, append) => (append ? fs.appendFile : fs.writeFile)(path, data),
    mkdir: async (path, recursive) => { await fs.mkdir(path, { recursive }); },
    list: async (path) => (await fs.readdir(path, { withFileTypes: true })).map((e) => ({ name: e.name, dir: e.isDirectory() })),
    rmdir: async (path, recursive) => {
      if (!await isFolder(path)) refuse('ENOTDIR');
      await (recursive ? fs.rm(path, { recursive }) : fs.rmdir(path));
    },
    stat: async (path) => {
      const s = await fs.stat(path);
      return { dir: s.isDirectory(), size: s.size, atime: s.atimeMs, mtime: s.mtimeMs, birthtime: s.birthtimeMs };
    },
    unlink: async (path) => {
      if (await isFolder(path)) refuse('EISDIR');
      await fs.unlink(path);
    },
    rename: (path, to) => fs.rename(path, join(root, to)),
    copy: async (path, to) => { await fs.writeFile(join(root, to), await fs.readFile(path)); },
  };
  const run = async (op, path, args) => {
    await made;
    return ops[op](join(root, path), ...args);
  };
  return limit > 0 ? bounded(run, fs, root, limit) : run;
}

// bounded keeps count of what the adapter has written, names included, as a tab does; what a
// pack writes past it, its node does not count. What changes sizes is done one after the other.
function bounded(run, fs, root, limit) {
  const { join, posix } = require('node:path');
  let used = 0, turn = Promise.resolve();
  const there = (path) => fs.lstat(join(root, path)).catch(() => null);
  const nameBytes = (path) => (path === '/' ? 0 : 2 * path.length);
  // entries are what a path names, and all below it.
  const entries = async (path) => {
    const s = await there(path);
    if (!s?.isDirectory()) return s ? [{ path, size: s.size }] : [];
    const all = [{ path, size: 0 }];
    for (const name of await fs.readdir(join(root, path))) for (const e of await entries(posix.join(path, name))) all.push(e);
    return all;
  };
  const bytes = (all, at = (path) => path) => all.reduce((sum, e) => sum + e.size + nameBytes(at(e.path)), 0);
  // Of each operation the path that it changes, what is to be there then, and where that is
  // taken from.
  const changes = {
    write: async (path, data, append) => [path, nameBytes(path) + (append ? (await there(path))?.size ?? 0 : 0) + data.length],
    copy: async (path, to) => [to, nameBytes(to) + ((await entries(path))[0]?.size ?? 0)],
    mkdir: async (path, recursive) => {
      let first = path, sum = 0;
      for (let p = path; p !== '/' && !await there(p); p = posix.dirname(p)) {
        first = p;
        sum += nameBytes(p);
      }
      return first === path || recursive ? [first, sum] : [path, 0];
    },
    rename: async (path, to) => [to, bytes(await entries(path), (p) => to + p.slice(path.length)), path],
    unlink: (path) => [path, 0],
    rmdir: (path) => [path, 0],
  };
  return (op, path, args) => {
    if (!changes[op]) return run(op, path, args);
    const result = turn.then(async () => {
      const [changed, after, from] = await changes[op](path, ...args);
      const kept = async () => bytes(await entries(changed)) + (from && from !== changed ? bytes(await entries(from)) : 0);
      const before = await kept();
      if (after > before && used + after - before > limit) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
      try {
        return await run(op, path, args);
      } finally {
        used += await kept() - before;
      }
    });
    turn = result.catch(() => {});
    return result;
  };
}

// capturer takes the output of the pack line by line and sends each line at once, so
// that a pack that never yields is heard too. A bucket of bytes bounds the rate.
function capturer(port, StringDecoder) {
  const RATE = 16 * 1024 * 1024;
  const partial = { stdout: '', stderr: '' };
  const decoders = { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') };
  const held = []; // the newest lines beyond the budget
  let budget = RATE, refilled = Date.now(), dropped = 0;

  function line(stream, text) {
    const now = Date.now();
    if (now - refilled >= 100) {
      budget = Math.min(RATE, budget + (now - refilled) * RATE / 1000);
      refilled = now;
    }
    if (text.length > MAX_LINE) text = text.slice(0, MAX_LINE) + ' …';
    const line = [stream, now, text];
    budget -= text.length + 128;
    if (budget < 0) {
      if (held.push(line) > KEPT) { held.shift(); dropped++; }
      return;
    }
    release();
    port.postMessage({ t: 'out', line, dropped });
    dropped = 0;
  }

  function release() {
    for (const line of held.splice(0)) {
      port.postMessage({ t: 'out', line, dropped });
      dropped = 0;
    }
  }

  function write(stream) {
    return (chunk, encoding, callback) => {
      const text = typeof chunk === 'string' ? chunk : decoders[stream].write(Buffer.from(chunk));
      const parts = (partial[stream] + text).split('\n');
      partial[stream] = parts.pop();
      for (const p of parts) line(stream, p.endsWith('\r') ? p.slice(0, -1) : p);
      if (partial[stream].length > MAX_LINE) {
        line(stream, partial[stream]);
        partial[stream] = '';
      }
      const done = typeof encoding === 'function' ? encoding : callback;
      if (done) process.nextTick(done);
      return true;
    };
  }
  process.stdout.write = write('stdout');
  process.stderr.write = write('stderr');

  const flush = () => {
    for (const s of ['stdout', 'stderr']) {
      partial[s] += decoders[s].end();
      if (partial[s]) line(s, partial[s]);
      partial[s] = '';
    }
    release();
    tick();
  };
  const tick = () => {
    if (dropped) port.postMessage({ t: 'out', dropped });
    dropped = 0;
  };
  process.on('exit', flush);
  return { line, flush, tick };
}

// killer is process.kill for packs. One that ends the pack's own process waits until
// the output is out and the agent knows whose doing it is.
function killer(port, capture, kill, own) {
  return (pid, signal) => {
    if (signal !== 0 && (pid === own || pid === -own || pid === 0)) {
      capture.flush();
      const done = new Int32Array(new SharedArrayBuffer(4));
      port.postMessage({ t: 'last', signal: String(signal ?? 'SIGTERM'), done });
      Atomics.wait(done, 0, 0, LAST_WORDS_MS);
    }
    return kill(pid, signal);
  };
}
