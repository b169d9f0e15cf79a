// What runs one pod in a tab: a worker, or, for a pack that shows something, the thread
// of its frame. It lives in an iframe of opaque origin, waits for a port to the agent,
// loads the bundle, and belongs to the pack from then on. What it needs of the platform
// it takes before the pack runs: a pack may change every prototype, and harms itself
// alone by it.
'use strict';

(() => {
  const MAX_LINE = 16 * 1024;    // characters of one line, the rest is cut off
  const MAX_ASKED = 64;          // questions that may wait for an answer, as in told.js
  const KEPT = 4 * 1024 * 1024;  // characters of output that may wait to be sent: the newest stay
  const BATCH = 64 * 1024;       // characters that are sent together
  const BATCH_MS = 20;           // output is sent together
  const STUCK_MS = 1000;         // a pack that lets nothing else run for so long gets no tickets,
  const STUCK_EVERY_MS = 250;    // and may send without, now and then

  // What stands before the program of a further worker. A rejection that nobody handles ends it, as on Node.js.
  const inner = `const send = postMessage.bind(self), on = (f) => { self.onmessage = (e) => f(e.data); };
    addEventListener('unhandledrejection', (e) => { e.preventDefault(); setTimeout(() => { throw e.reason; }); });`;

  const { addEventListener: listen } = EventTarget.prototype;
  const later = setTimeout, now = Date.now, every = setInterval, { stringify } = JSON;
  if (typeof document === 'object') globalThis.starkServe = serve; // frame.js takes it
  else {
    const entry = (event) => {
      removeEventListener('message', entry);
      serve(event.ports[0], event.data);
    };
    addEventListener('message', entry);
    // Whoever speaks past the port speaks to nobody who listens, but fills a queue.
    delete DedicatedWorkerGlobalScope.prototype.postMessage;
    delete globalThis.postMessage;
  }

  // serve runs an order; root is the element that a pack may draw into.
  function serve(port, order, root) {
    const post = MessagePort.prototype.postMessage.bind(port);
    const toAsk = []; // questions to the agent
    const asked = new Map(); // those of them that wait for an answer
    const aborter = new AbortController();
    const handlers = [];
    let polled = false, finished = null, settled = false, isReady = false, questions = 0;
    const capture = capturer(post, order.tickets);
    silence(capture);

    port.onmessage = ({ data: m }) => {
      if (m.t === 'ping') { capture.turn(); post('pong'); }
      else if (m.t === 'ticket') capture.ticket(m.ticket);
      else if (m.t === 'stop') stop();
      else if (m.t === 'answer') answer(m);
    };
    listen.call(self, 'error', (e) => { e.preventDefault(); end({ reason: 'Error', message: describe(e.error ?? e.message), code: 1 }); });
    listen.call(self, 'unhandledrejection', (e) => { e.preventDefault(); end({ reason: 'Error', message: describe(e.reason), code: 1 }); });
    start();

    function end(outcome) {
      if (settled) return;
      settled = true;
      capture.finish();
      post({ t: 'outcome', outcome });
    }

    async function start() {
      let pack;
      try {
        pack = order.format === 'esm' ? await loadModule(order.bundle) : await loadCommonJS(order.bundle);
        for (let i = 0; i < 2 && typeof pack !== 'function'; i++) pack = pack?.default;
        if (typeof pack !== 'function') throw new Error('the bundle exports no default function');
      } catch (err) {
        return end({ reason: 'PackLoadError', message: describe(err), code: 1 });
      }
      try {
        const result = pack(context());
        if (typeof result?.then === 'function') {
          finished = result;
          later(ready, 0);
          await result;
        }
        end({ reason: 'Completed', code: 0 });
      } catch (err) {
        end({ reason: 'Error', message: describe(err), code: 1 });
      }
    }

    function ready() {
      if (isReady || settled) return;
      isReady = true;
      post('ready');
    }

    function context() {
      const { signal } = aborter;
      notice(signal, () => { polled = true; });
      const adapters = starkAdapters(platform());
      const c = {
        pod: Object.freeze(order.pod),
        env: Object.freeze({ ...order.env }),
        signal,
        log: logger(capture),
        ready,
        ...(root && { root }),
        onStop(fn) {
          if (typeof fn !== 'function') throw new TypeError('onStop takes a function');
          handlers.push(fn);
        },
      };
      return Object.freeze(Object.defineProperties(c, Object.getOwnPropertyDescriptors(adapters)));
    }

    // platform is what the adapters cannot do by themselves.
    function platform() {
      return {
        cores: order.cores,
        signal: aborter.signal,
        fs: (op, ...args) => ask({ t: 'fs', op, args }),
        spawn(source, handle) {
          const w = new Worker('data:text/javascript,' + encodeURIComponent(inner + source)); // see frame.js
          w.onmessage = (e) => handle.message(e.data);
          w.onerror = (e) => { e.preventDefault(); handle.failed(new Error(e.message || 'the worker could not be started')); };
          return { post: (m, transfer) => w.postMessage(m, transfer ?? []), terminate: async () => w.terminate() };
        },
      };
    }

    // ask asks the agent, once it may.
    function ask(question) {
      return new Promise((resolve, reject) => {
        const id = ++questions;
        toAsk.push({ question: { ...question, id }, waiting: { resolve, reject } });
        askMore();
      });
    }

    function askMore() {
      while (toAsk.length && asked.size < MAX_ASKED) {
        const { question, waiting } = toAsk.shift();
        asked.set(question.id, waiting);
        try {
          post(question);
        } catch (err) { // what cannot be sent is nobody else's fault
          asked.delete(question.id);
          waiting.reject(err);
        }
      }
    }

    function answer(m) {
      const waiting = asked.get(m.id);
      asked.delete(m.id);
      askMore();
      if (m.error) waiting?.reject(Object.assign(new Error(m.error.message), { code: m.error.code }));
      else waiting?.resolve(m.value);
    }

    // A pack that neither listens nor has handlers has nothing to do at a stop. One
    // that listens is given the time until its function is done.
    async function stop() {
      const waits = polled;
      aborter.abort(new DOMException('The pod is stopped.', 'AbortError'));
      let failure = '';
      for (const fn of handlers.reverse()) {
        try { await fn(); } catch (err) { failure ||= `a stop handler failed: ${describe(err)}`; }
      }
      if (waits && finished) await finished.then(() => {}, () => {});
      end({ reason: 'Stopped', message: failure, code: 0 });
    }
  }

  async function loadCommonJS(bundle) {
    const wrapped = new Blob(['self.__stark = function (module, exports, require) {', bundle, '\n};'], { type: 'text/javascript' });
    const url = URL.createObjectURL(wrapped);
    try {
      if (typeof document === 'object') await loadScript(url);
      else importScripts(url);
    } finally {
      URL.revokeObjectURL(url);
    }
    const load = self.__stark;
    delete self.__stark;
    const module = { exports: {} };
    load(module, module.exports, (name) => { throw new Error(`require(${JSON.stringify(name)}): a browser has no modules beyond the bundle`); });
    return module.exports;
  }

  // loadScript does for a document what importScripts does for a worker.
  function loadScript(src) {
    return new Promise((resolve, reject) => {
      const script = document.createElement('script');
      const failed = (e) => { e.preventDefault(); e.stopImmediatePropagation(); reject(e.error ?? new SyntaxError(e.message)); };
      addEventListener('error', failed, { capture: true });
      script.onload = () => { removeEventListener('error', failed, { capture: true }); script.remove(); resolve(); };
      script.src = src;
      document.head.append(script);
    });
  }

  async function loadModule(bundle) {
    const url = URL.createObjectURL(new Blob([bundle], { type: 'text/javascript' }));
    try {
      return await import(url);
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  // notice calls seen when anybody asks whether the signal is aborted, or listens.
  function notice(signal, seen) {
    const { get } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted');
    const throwIf = AbortSignal.prototype.throwIfAborted;
    let handler = null;
    Object.defineProperties(signal, {
      aborted: { get() { seen(); return get.call(signal); } },
      throwIfAborted: { value() { seen(); return throwIf.call(signal); } },
      addEventListener: { value(...args) { seen(); return listen.apply(signal, args); } },
      onabort: {
        get: () => handler,
        set(fn) { seen(); if (!handler) listen.call(signal, 'abort', (e) => handler?.call(signal, e)); handler = fn; },
      },
    });
    const real = self.fetch;
    self.fetch = (resource, init) => { if (init?.signal === signal) seen(); return real(resource, init); };
  }

  function logger(capture) {
    const write = (level) => (message, fields) => capture.line('log', `${level} ${text(message)}${fields === undefined ? '' : ' ' + show(fields)}`);
    return Object.freeze(Object.assign(write('INFO'), { debug: write('DEBUG'), info: write('INFO'), warn: write('WARN'), error: write('ERROR') }));
  }

  // silence turns the console into output of the pod.
  function silence(capture) {
    const to = (stream) => (...args) => {
      for (const line of args.map(text).join(' ').split('\n')) capture.line(stream, line);
    };
    for (const name of ['log', 'info', 'debug', 'dir', 'table']) console[name] = to('stdout');
    for (const name of ['warn', 'error', 'trace']) console[name] = to('stderr');
  }

  function text(v) {
    if (typeof v === 'string') return v;
    if (v instanceof Error) return describe(v);
    return typeof v === 'object' && v !== null ? show(v) : String(v);
  }

  function show(v) {
    try { return JSON.stringify(v) ?? String(v); } catch { return String(v); }
  }

  function describe(err) {
    if (err instanceof Error || typeof err?.stack === 'string') {
      const head = `${err.name}: ${err.message}`;
      const stack = String(err.stack || '');
      const whole = stack.startsWith(head) ? stack : `${head}\n${stack}`; // Firefox leaves the head out
      return whole.trimEnd() + (err.cause === undefined ? '' : `\ncaused by: ${describe(err.cause)}`);
    }
    return typeof err === 'string' ? err : `thrown: ${show(err)}`;
  }

  // capturer sends output in batches, each with a ticket: the agent, which shares one thread
  // with everybody, gives it back when it can hear more. Without one the newest lines wait.
  function capturer(post, tickets) {
    let lines = [], size = 0, dropped = 0, scheduled = false, sent = 0, turned = now();

    function line(stream, textOf) {
      const t = now();
      if (textOf.length > MAX_LINE) textOf = textOf.slice(0, MAX_LINE) + ' …';
      // Text by text: a library may have given objects and arrays a toJSON of its own.
      const l = { text: `["${stream}",${t},${stringify(textOf)}]`, weight: textOf.length + 128 };
      lines.push(l);
      size += l.weight;
      if (size > KEPT) makeRoom();
      if (size > BATCH || t - sent >= BATCH_MS) flush();
      else if (!scheduled) { scheduled = true; later(() => { scheduled = false; turn(); flush(); }, BATCH_MS); }
    }

    // makeRoom drops the oldest lines, many at once.
    function makeRoom() {
      let n = 0;
      for (; n < lines.length && size > KEPT - BATCH; n++) size -= lines[n].weight;
      lines.splice(0, n);
      dropped += n;
    }

    function flush() {
      for (let t; lines.length || dropped;) {
        if (tickets.length) send(tickets.shift());
        else if ((t = now()) - turned >= STUCK_MS && t - sent >= STUCK_EVERY_MS) send();
        else return;
      }
    }

    function send(ticket) {
      let n = 0, all = '';
      for (let taken = 0; n < lines.length && taken < BATCH; n++) {
        taken += lines[n].weight;
        size -= lines[n].weight;
        all += (n ? ',' : '') + lines[n].text;
      }
      lines.splice(0, n);
      post(`{"ticket":"${ticket ?? ''}","lines":[${all}],"dropped":${dropped}}`);
      dropped = 0;
      sent = now();
    }

    // turn notes that the pack has let something else run.
    function turn() { turned = now(); }
    function ticket(t) { turn(); tickets.push(t); flush(); }
    // finish sends what is left, with tickets or without.
    function finish() { while (lines.length || dropped) send(tickets.shift()); }
    every(() => { turn(); flush(); }, 500);
    return { line, turn, ticket, finish };
  }
})();
