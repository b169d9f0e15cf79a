// Tries in a tab what a pack must not be able to do; prints what it got hold of.
module.exports = async ({ log, ready, storage, env }) => {
  const got = [];
  const attempt = async (name, f) => {
    try { const v = await f(); got.push(`${name}: ${String(v)}`); } catch (err) { log.info(`no ${name}: ${err.name}`); }
  };
  // Prototype games, against the runtime that shares this thread.
  MessagePort.prototype.postMessage = function () { got.push('the port of the agent'); };
  Array.prototype.push = ((push) => function (...a) { return push.apply(this, a); })(Array.prototype.push);
  Object.prototype.polluted = 'yes';
  EventTarget.prototype.dispatchEvent = () => true;
  Promise.prototype.then = ((then) => function (...a) { return then.apply(this, a); })(Promise.prototype.then);
  // The page, its storage and its credential.
  await attempt('IndexedDB', () => new Promise((resolve, reject) => {
    const r = indexedDB.open('stark-node-0');
    r.onsuccess = () => resolve('opened');
    r.onerror = () => reject(r.error);
  }));
  await attempt('caches', () => caches.open('x'));
  await attempt('locks', () => navigator.locks.request('stark-node-0', { ifAvailable: true }, (l) => l && 'held'));
  await attempt('localStorage', () => localStorage.length);
  await attempt('document', () => document.title);
  await attempt('popup', () => open('about:blank'));
  await attempt('window of the page', () => parent.location.href);
  await attempt('messages to the frame', () => postMessage({ t: 'kill' }));
  new BroadcastChannel('stark').postMessage('from a pack'); // the test listens in the page
  await attempt('opener', () => opener);
  await attempt('files of the origin', () => navigator.storage.getDirectory());
  await attempt('service worker', () => navigator.serviceWorker.register(env.SERVER + '/node/embed.js'));
  await attempt('shared worker', () => new SharedWorker(env.SERVER + '/node/embed.js'));
  await attempt('shared memory', () => new SharedArrayBuffer(8));
  await attempt('WebRTC', () => new RTCPeerConnection());
  await attempt('notifications', () => { if (Notification.permission !== 'granted') throw new Error('denied'); return 'granted'; });
  await attempt('API of the server', async () => (await fetch(env.SERVER + '/api/nodes', { credentials: 'include' })).status);
  await attempt('page of the server', async () => (await fetch(env.SERVER + '/node')).status);
  await attempt('socket of the server', () => new Promise((resolve, reject) => {
    const ws = new WebSocket(env.SERVER.replace('http', 'ws') + '/ws', 'stark.v1');
    ws.onopen = () => resolve('open');
    ws.onerror = () => reject(new Error('refused'));
  }));
  await attempt('module of the page', () => import(env.SERVER + '/node/assets/page.js'));
  // Code of others. A pack may fetch text and evaluate it, as on Node.js, and loads none.
  await attempt('remote module', () => import(env.REMOTE + '/code'));
  await attempt('remote script', () => importScripts(env.REMOTE + '/code'));
  const load = (address) => new Promise((resolve, reject) => {
    const w = new Worker(address);
    w.onmessage = (e) => resolve(e.data);
    w.onerror = (e) => { e.preventDefault(); reject(new Error('refused')); };
  });
  await attempt('remote worker', () => load(env.REMOTE + '/code'));
  await attempt('worker of the page', () => load(env.SERVER + '/node/embed.js'));
  // What a worker cannot do its own workers cannot either.
  const inner = `const tell = (p) => p.then((v) => postMessage(String(v)), () => {}); const open = (r) => new Promise((ok, no) => { r.onsuccess = () => ok('IndexedDB'); r.onerror = no; });
    Promise.allSettled([async () => open(indexedDB.open('stark-node-0')), async () => (await fetch('${env.SERVER}/api/nodes', { credentials: 'include' })).status,
      async () => caches.open('x'), async () => navigator.locks.request('stark-node-0', { ifAvailable: true }, (l) => l && 'held'),
      async () => { new BroadcastChannel('stark').postMessage('from a worker of a pack'); throw 0; },
    ].map((f) => tell(f()))).then(() => postMessage('done'));`;
  for (const address of ['data:text/javascript,' + encodeURIComponent(inner), URL.createObjectURL(new Blob([inner]))]) {
    await load(address).then((v) => { if (v !== 'done') got.push(`by a worker: ${v}`); }, (err) => got.push(`no worker: ${err.message}`));
  }
  // A flood of storage ends at the limit.
  await attempt('endless storage', async () => { for (let i = 0; i < 200; i++) await storage.writeFile(`/${i}`, new Uint8Array(2 ** 20)); return 'all written'; });
  // A flood of questions waits in the pod.
  await attempt('a flood of questions', async () => {
    const all = await Promise.all(Array.from({ length: 500 }, () => storage.exists('/0')));
    if (all.every((there) => there === all[0])) throw new Error('none was lost');
    return 'different answers';
  });
  // A flood of output costs its own lines.
  for (let i = 0; i < 20_000; i++) log.info('x'.repeat(1000));
  log.info(`got: ${got.join('; ') || 'nothing'}`);
  ready();
};
