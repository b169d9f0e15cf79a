// starkAdapters makes the adapters of a pack's context. The platform gives:
//   cores                      how many the pod may use at a time
//   fs(op, ...args)            storage below the pod's own root, see storage below
//   spawn(source, handle)      a worker: { post(message, transfer), terminate() };
//                              handle.message(value), handle.failed(error)
// Nothing is made before the pack asks for it.
function starkAdapters(platform) {
  let storage, http, workers;
  return {
    get storage() { return (storage ??= starkStorage(platform)); },
    get http() { return (http ??= starkHttp({})); },
    get workers() { return (workers ??= starkWorkers(platform)); },
  };
}

// ---- storage: files below a root of the pod's own, gone with the run ----

function starkStorage(platform) {
  const words = {
    ENOENT: 'no such file or directory', EEXIST: 'file already exists', EISDIR: 'illegal operation on a directory',
    ENOTDIR: 'not a directory', ENOTEMPTY: 'directory not empty', EINVAL: 'invalid argument', ENOSPC: 'no space left on device',
    EBUSY: 'too many operations at once', ENAMETOOLONG: 'name too long',
  };
  const fail = (code, op, path) => Object.assign(new Error(`${code}: ${words[code] ?? 'input/output error'}, ${op} '${path}'`), { name: 'StorageError', code, path, operation: op });

  // normal gives the path from the root, without "." and "..": nothing lies above it.
  function normal(op, path) {
    if (typeof path !== 'string' || path === '' || path.includes('\0')) throw fail('EINVAL', op, String(path));
    const parts = [];
    for (const part of path.toWellFormed().split('/')) { // half a pair would be another name on each platform
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (!parts.length) throw fail('EINVAL', op, path);
        parts.pop();
      } else if (new TextEncoder().encode(part).length > 255) throw fail('ENAMETOOLONG', op, path);
      else parts.push(part);
    }
    if (parts.length > 64) throw fail('ENAMETOOLONG', op, path);
    return '/' + parts.join('/');
  }

  async function run(op, primitive, path, ...args) {
    const at = normal(op, path);
    try {
      return await platform.fs(primitive, at, ...args);
    } catch (err) {
      throw fail(err?.code in words ? err.code : 'EIO', op, path);
    }
  }

  function bytes(op, path, data) {
    if (typeof data === 'string') return new TextEncoder().encode(data);
    if (data instanceof ArrayBuffer) return new Uint8Array(data.slice(0));
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
    throw fail('EINVAL', op, path);
  }

  // Those that mean the same everywhere; TextDecoder's latin1 is not what Node.js makes of it.
  const utf8 = (data) => new TextDecoder().decode(data), utf16 = (data) => new TextDecoder('utf-16le').decode(data);
  const latin1 = (data) => { let s = ''; for (const b of data) s += String.fromCharCode(b); return s; };
  const encodings = { 'utf-8': utf8, utf8, 'utf-16le': utf16, utf16le: utf16, latin1, binary: latin1 };

  const entry = (e) => Object.freeze({ name: e.name, isFile: () => !e.dir, isDirectory: () => e.dir, isSymbolicLink: () => false });
  let initialized = false;

  const storage = {
    // The root is there already; asking for it twice does no harm.
    async initialize() { await platform.fs('mkdir', '/', true); initialized = true; },
    isInitialized: () => initialized,
    getRootPath: () => '/',
    async readFile(path, encoding = 'utf-8') {
      const decode = encodings[String(encoding).toLowerCase()];
      if (!decode) throw fail('EINVAL', 'readFile', path);
      return decode(new Uint8Array(await run('readFile', 'read', path)));
    },
    async readFileBytes(path) { return new Uint8Array(await run('readFileBytes', 'read', path)); },
    async writeFile(path, data) { await run('writeFile', 'write', path, bytes('writeFile', path, data), false); },
    async appendFile(path, data) { await run('appendFile', 'write', path, bytes('appendFile', path, data), true); },
    async mkdir(path, recursive = true) { await run('mkdir', 'mkdir', path, Boolean(recursive)); },
    async readdir(path = '/') { return (await run('readdir', 'list', path)).map((e) => e.name).sort(); },
    async readdirWithTypes(path = '/') {
      return (await run('readdirWithTypes', 'list', path)).sort((a, b) => (a.name < b.name ? -1 : 1)).map(entry);
    },
    async rmdir(path, recursive = false) {
      if (normal('rmdir', path) === '/') throw fail('EINVAL', 'rmdir', path);
      await run('rmdir', 'rmdir', path, Boolean(recursive));
    },
    async stat(path) {
      const s = await run('stat', 'stat', path);
      return Object.freeze({
        ...entry({ name: '', dir: s.dir }), size: s.dir ? 0 : s.size, mode: s.dir ? 0o755 : 0o644,
        atime: new Date(s.atime), mtime: new Date(s.mtime), birthtime: new Date(s.birthtime),
      });
    },
    async exists(path) {
      try { await storage.stat(path); return true; } catch (err) {
        if (err.code === 'ENOENT' || err.code === 'ENOTDIR') return false;
        throw err;
      }
    },
    async isFile(path) { return (await storage.exists(path)) && (await storage.stat(path)).isFile(); },
    async isDirectory(path) { return (await storage.exists(path)) && (await storage.stat(path)).isDirectory(); },
    async unlink(path) { await run('unlink', 'unlink', path); },
    async rename(from, to) {
      if (normal('rename', from) === '/' || normal('rename', to) === '/') throw fail('EINVAL', 'rename', from);
      await run('rename', 'rename', from, normal('rename', to));
    },
    async copyFile(from, to) { await run('copyFile', 'copy', from, normal('copyFile', to)); },
  };
  return Object.freeze(storage);
}

// ---- http: fetch with time limits, retries and defaults ----

function starkHttp(initial) {
  const RETRIED = [408, 429, 500, 502, 503, 504];
  const defaults = { baseUrl: '', timeout: 30_000, retries: 0, retryDelay: 1000, throwOnError: true, ...initial };
  const headers = new Map();
  const interceptors = [];
  const open = new Set();
  let disposed = false;

  class HttpError extends Error {
    constructor(message, fields) {
      super(message);
      this.name = 'HttpError';
      Object.assign(this, { status: 0, data: undefined, isTimeout: false, isNetworkError: false, isCancelled: false }, fields);
    }
  }

  function address(url, query) {
    const base = defaults.baseUrl && !/^[a-z][a-z0-9+.-]*:/i.test(url) ? defaults.baseUrl.replace(/\/+$/, '') + '/' + url.replace(/^\/+/, '') : url;
    let u;
    try { u = new URL(base); } catch { throw new HttpError(`the address ${JSON.stringify(url)} is not absolute and there is no base URL`, { code: 'INVALID_URL' }); }
    for (const [k, v] of Object.entries(query ?? {})) if (v !== undefined && v !== null) u.searchParams.append(k, String(v));
    return u.href;
  }

  function payload(body, sent) {
    if (body === undefined || body === null) return undefined;
    const plain = typeof body === 'object' && (Array.isArray(body) || [Object.prototype, null].includes(Object.getPrototypeOf(body)));
    if (!plain) return body;
    if (!sent.has('content-type')) sent.set('content-type', 'application/json');
    return JSON.stringify(body);
  }

  async function content(response, type) {
    if (type === 'bytes') return new Uint8Array(await response.arrayBuffer());
    const text = await response.text();
    const json = type === 'json' || (type !== 'text' && /[/+]json\b/i.test(response.headers.get('content-type') ?? ''));
    if (!json || text === '') return text;
    try { return JSON.parse(text); } catch (err) {
      if (type === 'json') throw new HttpError('the answer is not JSON', { status: response.status, data: text, code: 'INVALID_JSON' });
      return text;
    }
  }

  // once sends one request and reads its answer within the time limit.
  async function once(method, url, o) {
    if (disposed) throw new HttpError('the client was disposed', { isCancelled: true, code: 'CANCELLED' });
    const began = Date.now(), stop = new AbortController();
    let timedOut = false;
    const cancel = () => stop.abort();
    const timer = o.timeout > 0 && o.timeout !== Infinity ? setTimeout(() => { timedOut = true; stop.abort(); }, o.timeout) : undefined;
    o.signal?.addEventListener('abort', cancel);
    open.add(stop);
    if (o.signal?.aborted) stop.abort();
    try {
      const sent = new Headers([...headers, ...new Headers(o.headers ?? {})]);
      const response = await fetch(url, { method, headers: sent, body: payload(o.body, sent), signal: stop.signal, redirect: o.redirect ?? 'follow', credentials: 'omit' });
      return {
        data: method === 'HEAD' ? '' : await content(response, o.responseType), status: response.status, statusText: response.statusText,
        headers: Object.fromEntries(response.headers), duration: Date.now() - began,
      };
    } catch (err) {
      if (err instanceof HttpError) throw err;
      if (timedOut) throw new HttpError(`no answer within ${o.timeout} ms`, { isTimeout: true, code: 'TIMEOUT' });
      if (stop.signal.aborted) throw new HttpError('the request was cancelled', { isCancelled: true, code: 'CANCELLED' });
      throw new HttpError('the server cannot be reached', { isNetworkError: true, code: 'NETWORK_ERROR', cause: err });
    } finally {
      clearTimeout(timer);
      o.signal?.removeEventListener('abort', cancel);
      open.delete(stop);
    }
  }

  function pause(ms, signal) {
    return new Promise((resolve, reject) => {
      const give = () => { clearTimeout(timer); reject(new HttpError('the request was cancelled', { isCancelled: true, code: 'CANCELLED' })); };
      const timer = setTimeout(() => { signal?.removeEventListener('abort', give); resolve(); }, ms);
      signal?.addEventListener('abort', give, { once: true });
    });
  }

  async function attempt(method, url, o) {
    for (let n = 0; ; n++) {
      let failure;
      try {
        const r = await once(method, url, o);
        if (r.status < 400 && r.status >= 200) return r;
        failure = new HttpError(`the server answered ${r.status}`, { status: r.status, data: r.data, code: `HTTP_${r.status}`, response: r });
      } catch (err) {
        failure = err;
      }
      const again = n < o.retries && (failure.isTimeout || failure.isNetworkError || RETRIED.includes(failure.status));
      if (!again) {
        if (failure.response && !o.throwOnError) return failure.response;
        throw failure;
      }
      await pause(o.retryDelay * 2 ** n, o.signal);
    }
  }

  async function request(url, options = {}) {
    let o = { ...defaults, ...options, url };
    for (const i of interceptors) if (i.request) o = (await i.request(o)) ?? o;
    try {
      let r = await attempt((o.method ?? 'GET').toUpperCase(), address(String(o.url), o.query), o);
      for (const i of interceptors) if (i.response) r = (await i.response(r)) ?? r;
      return r;
    } catch (err) {
      for (const i of interceptors) if (i.error) await i.error(err);
      throw err;
    }
  }

  const without = (method) => (url, options) => request(url, { ...options, method });
  const withBody = (method) => (url, body, options) => request(url, { ...options, method, body });
  return Object.freeze({
    request, HttpError,
    get: without('GET'), delete: without('DELETE'), head: without('HEAD'), options: without('OPTIONS'),
    post: withBody('POST'), put: withBody('PUT'), patch: withBody('PATCH'),
    setAuthToken(token) { headers.set('authorization', `Bearer ${token}`); },
    clearAuthToken() { headers.delete('authorization'); },
    setDefaultHeader(name, value) { headers.set(String(name).toLowerCase(), String(value)); },
    removeDefaultHeader(name) { headers.delete(String(name).toLowerCase()); },
    setBaseUrl(url) { defaults.baseUrl = String(url); },
    getBaseUrl: () => defaults.baseUrl,
    use(interceptor) { interceptors.push(interceptor); },
    create: (more) => starkHttp({ ...defaults, ...more }),
    createAbortController: () => new AbortController(),
    dispose() {
      disposed = true;
      for (const stop of open) stop.abort();
    },
  });
}

// ---- workers: functions run in further threads ----

// The program of such a thread. A function comes as its text, so it sees nothing of
// what was around it. Bundlers put calls of __name into functions.
const starkWorkerSource = `
const __name = (f) => f, made = new Map();
const make = (text) => {
  let f = made.get(text);
  if (!f) {
    try { f = (0, eval)('(' + text + ')'); } catch { f = Object.values((0, eval)('({' + text + '})'))[0]; }
    if (typeof f !== 'function') throw new TypeError('not a function');
    made.set(text, f);
  }
  return f;
};
globalThis.__name = __name;
on(async ({ id, text, args }) => {
  try { send({ id, value: await make(text)(...args) }); } catch (err) {
    send({ id, error: { name: String(err?.name ?? 'Error'), message: String(err?.message ?? err), stack: String(err?.stack ?? '') } });
  }
});
`;

function starkWorkers(platform) {
  const MOST = 64;
  const presets = {
    'cpu-intensive': { minWorkers: Math.max(1, Math.floor(platform.cores / 2)), maxWorkers: platform.cores },
    'io-bound': { minWorkers: 0, maxWorkers: Math.max(2, Math.floor(platform.cores / 4)) },
  };
  const config = { minWorkers: 0, maxWorkers: Math.max(1, platform.cores), maxQueueSize: 1000, taskTimeout: 60_000, idleTimeout: 1000 };
  const methods = new Map();
  const queue = [], pool = new Set();
  let next = 0, closed = false, settled = [];

  const fault = (code, message) => Object.assign(new Error(message), { name: code, code });

  function spawn() {
    const w = { task: null, timer: null, handle: null };
    pool.add(w);
    w.handle = platform.spawn(starkWorkerSource, {
      message: (m) => { if (w.task && m.id === w.task.id) finish(w, m); },
      failed: (err) => drop(w, fault('WorkerFailed', err.message)),
    });
    return w;
  }

  // drop ends a thread, with what runs in it.
  function drop(w, err) {
    if (!pool.delete(w)) return;
    clearTimeout(w.timer);
    w.handle.terminate();
    const task = w.task;
    w.task = null;
    if (task) settle(task, () => task.reject(err));
    pump();
  }

  function finish(w, m) {
    const task = w.task;
    w.task = null;
    settle(task, () => (m.error ? task.reject(Object.assign(new Error(m.error.message), { name: m.error.name, remoteStack: m.error.stack })) : task.resolve(m.value)));
    w.timer = setTimeout(() => { if (!w.task && pool.size > config.minWorkers) drop(w); }, config.idleTimeout);
    pump();
  }

  function settle(task, how) {
    clearTimeout(task.timer);
    task.signal?.removeEventListener('abort', task.abort);
    task.done = true;
    how();
    if (!queue.length && ![...pool].some((w) => w.task)) for (const f of settled.splice(0)) f();
  }

  function pump() {
    while (queue.length) {
      const w = [...pool].find((p) => !p.task) ?? (pool.size < config.maxWorkers ? spawn() : null);
      if (!w) return;
      const task = queue.shift();
      clearTimeout(w.timer);
      w.task = task;
      task.worker = w;
      task.timer = task.timeout > 0 && task.timeout !== Infinity
        ? setTimeout(() => drop(w, fault('TaskTimeout', `the task took longer than ${task.timeout} ms and was ended`)), task.timeout) : undefined;
      try {
        w.handle.post({ id: task.id, text: task.text, args: task.args }, task.transfer);
      } catch (err) {
        w.task = null;
        settle(task, () => task.reject(err));
      }
    }
  }

  function cancel(task, err = fault('TaskCancelled', 'the task was cancelled')) {
    if (task.done) return false;
    const at = queue.indexOf(task);
    if (at >= 0) {
      queue.splice(at, 1);
      settle(task, () => task.reject(err));
    } else drop(task.worker, err);
    return true;
  }

  function submit(text, args, o = {}) {
    if (closed) throw fault('WorkerNotInitialized', 'the workers were terminated; initialize() starts them anew');
    if (!Array.isArray(args)) throw new TypeError('the arguments of a task are an array');
    if (queue.length >= config.maxQueueSize) throw fault('QueueFull', `${config.maxQueueSize} tasks wait already`);
    const task = { id: ++next, text, args, timeout: o.timeout ?? config.taskTimeout, transfer: o.transfer ?? [], signal: o.signal, done: false };
    const promise = new Promise((resolve, reject) => Object.assign(task, { resolve, reject }));
    task.abort = () => cancel(task);
    task.signal?.addEventListener('abort', task.abort);
    queue.push(task);
    if (task.signal?.aborted) cancel(task);
    else pump();
    return { promise, cancel: () => cancel(task) };
  }

  function textOf(f) {
    if (typeof f !== 'function') throw fault('WorkerScriptRequired', 'exec takes a function');
    const text = Function.prototype.toString.call(f);
    if (text.includes('[native code]')) throw fault('WorkerScriptRequired', 'a bound or built-in function cannot be sent to a worker');
    return text;
  }

  function methodOf(name) {
    const text = methods.get(name);
    if (text === undefined) throw fault('UnknownMethod', `there is no method ${JSON.stringify(name)}: give it to initialize({ methods })`);
    return text;
  }

  const guard = (f) => (...a) => { try { return f(...a); } catch (err) { const promise = Promise.reject(err); promise.catch(() => {}); return { promise, cancel: () => false }; } };
  const execCancellable = guard((f, args = [], o) => submit(textOf(f), args, o));
  const execMethodCancellable = guard((name, args = [], o) => submit(methodOf(name), args, o));

  return Object.freeze({
    async initialize(o = {}) {
      const wanted = { ...config, ...presets[o.preset], ...o };
      if (!(wanted.maxWorkers >= 1 && wanted.maxWorkers <= MOST)) throw new RangeError(`maxWorkers is a number from 1 to ${MOST}`);
      if (!(wanted.minWorkers >= 0 && wanted.minWorkers <= wanted.maxWorkers)) throw new RangeError('minWorkers is a number from 0 to maxWorkers');
      if (o.preset !== undefined && !presets[o.preset]) throw new RangeError(`the presets are ${Object.keys(presets).join(', ')}`);
      for (const k of Object.keys(config)) config[k] = wanted[k];
      for (const [name, f] of Object.entries(o.methods ?? {})) methods.set(name, textOf(f));
      closed = false;
      while (pool.size < config.minWorkers) spawn();
    },
    isInitialized: () => !closed,
    exec: (f, args, o) => execCancellable(f, args, o).promise,
    execCancellable,
    execMethod: (name, args, o) => execMethodCancellable(name, args, o).promise,
    execMethodCancellable,
    proxy: () => Object.freeze(Object.fromEntries([...methods.keys()].map((name) => [name, (...args) => execMethodCancellable(name, args).promise]))),
    getStats() {
      const busyWorkers = [...pool].filter((w) => w.task).length;
      return { totalWorkers: pool.size, busyWorkers, idleWorkers: pool.size - busyWorkers, pendingTasks: queue.length, activeTasks: busyWorkers };
    },
    cancelAll() {
      let n = 0;
      for (const task of [...queue, ...[...pool].map((w) => w.task).filter(Boolean)]) if (cancel(task)) n++;
      return n;
    },
    async terminate(force = false, timeout = 5000) {
      closed = true;
      if (!force && (queue.length || [...pool].some((w) => w.task))) {
        let timer;
        await Promise.race([new Promise((r) => settled.push(r)), new Promise((r) => { timer = setTimeout(r, timeout); })]);
        clearTimeout(timer);
      }
      for (const task of [...queue]) cancel(task);
      for (const w of [...pool]) drop(w, fault('TaskCancelled', 'the workers were terminated'));
    },
  });
}
