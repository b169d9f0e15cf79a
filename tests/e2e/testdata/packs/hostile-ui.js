// Shows something in a tab, and tries what it must not be able to do; prints what it got hold of.
module.exports = async ({ log, ready, root, env, storage, onStop }) => {
  const got = [];
  const attempt = async (name, f) => {
    try { const v = await f(); got.push(`${name}: ${String(v)}`); } catch (err) { log.info(`no ${name}: ${err.name}`); }
  };
  root.innerHTML = '<h1 id="shown">shown by a pack</h1>';
  log.info(`drawn: ${root.isConnected && document.getElementById('shown').textContent}`);
  log.info(`origin: ${origin}`);
  // Prototype games, against the runtime that shares this thread.
  MessagePort.prototype.postMessage = function () { got.push('the port of the agent'); };
  EventTarget.prototype.dispatchEvent = () => true;
  Object.prototype.polluted = 'yes';
  // The page around, its storage and its credential.
  await attempt('document of the page', () => parent.document.title);
  await attempt('address of the page', () => top.location.href);
  await attempt('element of the page', () => frameElement.outerHTML);
  await attempt('variables of the page', () => top.settings);
  await attempt('navigation of the page', () => { top.location = 'about:blank#taken'; return top.closed; });
  await attempt('navigation by a link', () => new Promise((resolve, reject) => {
    const a = Object.assign(document.createElement('a'), { href: 'about:blank#taken', target: '_top' });
    root.append(a);
    a.click();
    setTimeout(() => reject(new Error('still there')), 100);
  }));
  await attempt('popup', () => { const w = open('about:blank'); if (!w) throw new Error('blocked'); return w; });
  await attempt('popup by a link', () => new Promise((resolve, reject) => {
    const a = Object.assign(document.createElement('a'), { href: 'about:blank#taken', target: '_blank', rel: 'opener' });
    root.append(a);
    a.click();
    setTimeout(() => reject(new Error('blocked')), 100);
  }));
  await attempt('download', () => new Promise((resolve, reject) => {
    const a = Object.assign(document.createElement('a'), { href: URL.createObjectURL(new Blob(['x'])), download: 'taken.exe' });
    root.append(a);
    a.click(); // the test listens whether one begins
    setTimeout(() => reject(new Error('blocked')), 100);
  }));
  await attempt('opener', () => opener.document);
  await attempt('history of the tab', () => new Promise((resolve, reject) => {
    history.go(-1); // the test looks where the page is
    setTimeout(() => reject(new Error('still there')), 100);
  }));
  await attempt('whole screen', () => root.requestFullscreen().then(() => 'taken'));
  await attempt('pointer', () => root.requestPointerLock().then(() => 'taken'));
  await attempt('camera', () => navigator.mediaDevices.getUserMedia({ video: true }));
  await attempt('clipboard', () => navigator.clipboard.readText());
  await attempt('place', () => new Promise((resolve, reject) => { navigator.geolocation.getCurrentPosition(resolve, () => reject(new Error('denied'))); }));
  await attempt('notifications', async () => { if (await Notification.requestPermission() !== 'granted') throw new Error('denied'); return 'granted'; });
  await attempt('domain', () => { document.domain = 'localhost'; return document.domain; });
  await attempt('shared worker', () => new SharedWorker(env.SERVER + '/node/embed.js'));
  await attempt('frames of other pods', () => {
    for (let i = 0; i < top.length; i++) if (top[i] !== self) return top[i].document.title;
    throw new Error('none');
  });
  await attempt('navigation of other pods', () => {
    let other;
    for (let i = 0; i < top.length; i++) if (top[i] !== self) { other = top[i]; other.location = 'about:blank#taken'; }
    return other;
  });
  await attempt('remote script', () => new Promise((resolve, reject) => {
    root.append(Object.assign(document.createElement('script'), { src: env.REMOTE + '/code', onload: () => resolve('loaded'), onerror: () => reject(new Error('blocked')) }));
  }));
  await attempt('remote frame', () => new Promise((resolve, reject) => {
    const f = Object.assign(document.createElement('iframe'), { src: env.REMOTE + '/mark' });
    f.onload = async () => { if (await (await fetch(env.REMOTE + '/marked')).text() === '0') reject(new Error('blocked')); else resolve('loaded'); };
    root.append(f);
  }));
  alert('nobody'); // a dialog that opened would end the test
  print();
  navigator.sendBeacon(env.SERVER + '/api/nodes/leave', '{}'); // it has no credential to show
  new BroadcastChannel('stark').postMessage('from a pack that shows something');
  await attempt('dialog', () => { if (!confirm('Give me your password')) throw new Error('blocked'); return 'shown'; });
  await attempt('form', () => new Promise((resolve, reject) => {
    const f = Object.assign(document.createElement('form'), { action: env.SERVER + '/auth/login', method: 'post', target: '_top' });
    root.append(f);
    f.submit();
    setTimeout(() => reject(new Error('still there')), 100);
  }));
  await attempt('IndexedDB', () => new Promise((resolve, reject) => {
    const r = indexedDB.open('stark-node-0');
    r.onsuccess = () => resolve('opened');
    r.onerror = () => reject(r.error);
  }));
  await attempt('localStorage', () => localStorage.length);
  await attempt('cookies', () => document.cookie);
  await attempt('locks', () => navigator.locks.request('stark-node-0', { ifAvailable: true }, (l) => l && 'held'));
  await attempt('service worker', () => navigator.serviceWorker.register('/node/assets/x.js'));
  await attempt('API of the server', async () => (await fetch(env.SERVER + '/api/nodes', { credentials: 'include' })).status);
  await attempt('script of the server', () => import(env.SERVER + '/node/embed.js'));
  await attempt('frame of the page', () => new Promise((resolve, reject) => {
    const f = Object.assign(document.createElement('iframe'), { src: env.SERVER + '/node' });
    f.onload = () => setTimeout(() => { try { resolve(f.contentDocument.title); } catch (err) { reject(err); } }, 50);
    root.append(f);
  }));
  // Messages that pretend to come from the page, the agent or an application around.
  for (const t of ['frame', 'drop', 'state', 'killed', 'forget', 'leave', 'join', 'pause']) {
    for (const w of [top, parent]) w.postMessage({ t, id: 1, state: 'forgotten', stark: 'contribute', token: 'x' }, '*', [new MessageChannel().port1]);
  }
  for (let i = 0; i < 5000; i++) top.postMessage({ t: 'flood', i }, '*');
  await storage.writeFile('/note', 'kept');
  log.info(`storage: ${await storage.readFile('/note')}`);
  log.info(`got: ${got.join('; ') || 'nothing'}`);
  ready();
  await new Promise((done) => onStop(done));
};
