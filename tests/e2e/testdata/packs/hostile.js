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
  await attempt('BroadcastChannel', () => new Promise((resolve, reject) => {
    const c = new BroadcastChannel('x');
    c.postMessage(1);
    reject(new Error('nobody there'));
  }));
  await attempt('API of the server', async () => (await fetch(env.SERVER + '/api/nodes', { credentials: 'include' })).status);
  await attempt('page of the server', async () => (await fetch(env.SERVER + '/node')).status);
  await attempt('socket of the server', () => new Promise((resolve, reject) => {
    const ws = new WebSocket(env.SERVER.replace('http', 'ws') + '/ws', 'stark.v1');
    ws.onopen = () => resolve('open');
    ws.onerror = () => reject(new Error('refused'));
  }));
  await attempt('module of the page', () => import(env.SERVER + '/node/assets/page.js'));
  // A flood of storage ends at the limit.
  await attempt('endless storage', async () => { for (let i = 0; i < 200; i++) await storage.writeFile(`/${i}`, new Uint8Array(2 ** 20)); return 'all written'; });
  // A flood of questions is answered with no.
  await Promise.allSettled(Array.from({ length: 500 }, () => storage.exists('/0'))).then((all) => {
    if (all.every((r) => r.status === 'fulfilled')) log.info('every question was answered');
  });
  // A flood of output costs its own lines.
  for (let i = 0; i < 20_000; i++) log.info('x'.repeat(1000));
  log.info(`got: ${got.join('; ') || 'nothing'}`);
  ready();
};
