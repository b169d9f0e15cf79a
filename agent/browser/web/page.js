// The page of a tab that is a node: it asks the owner, shows what runs, holds the
// frames of the pods, and tells the agent's worker how the tab lives. The agent
// itself runs in that worker.

const $ = (id) => document.getElementById(id);
const { agent: agentURL, frame: frameURL, version } = document.body.dataset;
const session = slotMemory();
const embedded = location.pathname.endsWith('/embed');
const DEAF_MS = 5000; // an agent that has not begun to stop for so long is ended with all that runs
const frames = new Map();
const conditions = new Map();
let worker, slot, settings, identity = {}, connection = '', state = 'starting', runs = [], delays = new Map(), wanted = false, after = null, deaf = 0, given = '', release = () => {};
let host = null; // the page of another site that this one stands in, see host.js

main().catch((err) => show('broken', err.message));

async function main() {
  if (embedded) host = await around();
  const missing = ['locks' in navigator, 'indexedDB' in window, !!crypto.subtle, typeof WebAssembly === 'object'].includes(false);
  if (missing) throw new Error(isSecureContext ? 'This browser lacks what a node needs: use a current Chromium, Firefox or Safari.' : 'Browsers let a tab be a node only over https:// (or on localhost).');
  // The token is for us alone: not for the history, not for who looks over a shoulder.
  given = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, '', location.pathname);
  slot = await takeSlot();
  settings = load();
  boot();
  wire();
}

// ---- one identity per tab ----

function slotMemory() {
  try { return window.sessionStorage; } catch { return new Map(); }
}

// takeSlot holds one of the profile's identities for the life of the tab. Two tabs
// never have the same; after a reload a tab gets its own back.
async function takeSlot() {
  const before = session.getItem?.('stark-slot');
  if (before !== null && before !== undefined && await hold(before, { signal: AbortSignal.timeout(3000) })) return before;
  for (let n = 0; n < 64; n++) {
    if (!await hold(String(n), { ifAvailable: true })) continue;
    session.setItem?.('stark-slot', String(n));
    return String(n);
  }
  throw new Error('64 tabs of this browser are nodes already.');
}

// nameOf keeps what the owner has allowed one site apart from what others may.
function nameOf(n) { return host ? `stark-node-${host.origin}-${n}` : `stark-node-${n}`; }

function hold(n, options) {
  return new Promise((resolve) => {
    navigator.locks.request(nameOf(n), options, (lock) => {
      resolve(lock !== null);
      return lock && new Promise((free) => { release = free; }); // until the page is left
    }).catch(() => resolve(false));
  });
}

function load() {
  const cores = navigator.hardwareConcurrency || 2;
  const own = { name: '', cores: Math.max(1, Math.floor(cores / 2)), memory: Math.min(2048, (navigator.deviceMemory || 4) * 256), visible: false, consent: false, ...host?.defaults };
  try { return { ...own, ...JSON.parse(localStorage.getItem(nameOf(slot))) }; } catch { return own; }
}

function save() { localStorage.setItem(nameOf(slot), JSON.stringify(settings)); }

// ---- the agent ----

function boot() {
  worker = new Worker(agentURL, { name: 'agent' });
  worker.onerror = (e) => show('broken', e.message || 'the agent could not be loaded');
  worker.onmessage = ({ data: m, ports }) => heard[m.t]?.(m, ports);
  worker.postMessage({ t: 'init', database: nameOf(slot), cacheBytes: 256 * 2 ** 20 });
  if (!settings.name) settings.name = `tab-${[...crypto.getRandomValues(new Uint8Array(3))].map((b) => b.toString(16).padStart(2, '0')).join('')}`;
  if (settings.consent && !given) start('');
  else ask();
}

const heard = {
  frame: addFrame,
  drop({ id }) { frames.get(id)?.remove(); frames.delete(id); $('shows').hidden = !$('shows').querySelector('iframe'); },
  identity(m) { identity = m; draw(); },
  beat(m) { throttled(m.late); delays = new Map(m.delays); drawRuns(); },
  running(m) { runs = m.runs.sort((a, b) => a.since - b.since); draw(); },
  log({ level, text }) { console[{ WARN: 'warn', ERROR: 'error' }[level] ?? 'info'](`stark: ${text}`); },
  broken({ message }) { show('broken', message); },
  ended() { show('broken', 'The agent has ended. Reload the page.'); },
  state(m) {
    // One that was lost is still the one to leave: some browsers close the socket before
    // they tell that the page goes.
    if (m.connection) connection = m.connection;
    if (m.state === 'online') { settings.consent = true; save(); }
    if (m.state === 'forgotten') return forgotten();
    if (m.state === 'refused') return refused(m);
    if (m.state === 'stopping' || m.state === 'paused') clearTimeout(deaf);
    show(m.state, m.message);
    if (m.state === 'paused') { connection = ''; const next = after; after = null; next?.(); }
  },
};

// A frame has an opaque origin; its document brings its own policy. Those that show
// something say whose they are, above what they draw.
function addFrame({ id, shown }, [port]) {
  const f = document.createElement('iframe');
  let whole = f;
  f.sandbox = 'allow-scripts';
  f.src = frameURL;
  if (shown) {
    const name = document.createElement('figcaption');
    whole = document.createElement('figure');
    name.textContent = f.title = `${shown.name} · ${shown.namespace}`;
    f.style.height = `${shown.height}px`;
    f.src = `${frameURL}?ui`;
    whole.append(name, f);
  } else Object.assign(f, { title: 'A pod', ariaHidden: 'true', tabIndex: -1 });
  f.onload = () => { f.onload = null; f.contentWindow.postMessage('', '*', [port]); };
  f.onerror = () => worker.postMessage({ t: 'lost', frame: id });
  frames.set(id, whole);
  (shown ? $('shows') : document.body).append(whole);
  if (shown) $('shows').hidden = false;
}

function start(token) {
  wanted = true;
  if (settings.visible && document.hidden) return show('paused', '');
  worker.postMessage({
    t: 'join', url: location.origin, name: settings.name, token, version, cores: settings.cores,
    cpu: settings.cores * 1000, memory: settings.memory, pods: Math.min(32, settings.cores * 4), labels: { ...host?.labels, 'stark.io/tab': 'true' },
    namespaces: host?.namespaces, annotations: host ? { 'stark.io/embedded-by': host.origin } : undefined,
  });
  sendConditions();
}

function pause(then) {
  after = then ?? null;
  worker.postMessage({ t: 'pause' });
}

// takeBack pauses for the owner. An agent that does not hear it may be kept from it by what
// runs, and is ended: what was lent is taken back whatever a pack does.
function takeBack(then) {
  pause(then);
  clearTimeout(deaf);
  deaf = setTimeout(() => {
    leave();
    end();
    show('broken', 'The agent did not answer and was ended, with all that ran here. Reload the page to lend this tab again.');
  }, DEAF_MS);
}

// ---- joining ----

function ask() {
  $('join-server').textContent = location.host;
  $('name').value = settings.name;
  $('token').value = given;
  $('credentials').hidden = Boolean(given || host);
  show('asking');
}

async function join(e) {
  e.preventDefault();
  problem('');
  settings.name = $('name').value.trim();
  readCaps($('join-form'));
  save();
  const button = e.submitter ?? $('join-form').querySelector('button');
  button.disabled = true;
  try {
    const token = given || (host ? await host.token() : chosen() === 'token' ? $('token').value.trim() : await signIn());
    if (!token) throw new Error('Give a join token: somebody who may register nodes makes one with `stark node invite`.');
    start(token);
  } catch (err) {
    problem(err.message);
  } finally {
    button.disabled = false;
    $('password').value = '';
  }
}

const chosen = () => document.querySelector('input[name=by]:checked').value;

// signIn trades e-mail and password for a token that lets one node register; it is not kept.
async function signIn() {
  const response = await fetch('/auth/login', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email: $('email').value, password: $('password').value }),
  }).catch(() => { throw new Error('The server does not answer. Try again.'); });
  const body = await response.json().catch(() => ({}));
  if (!body.success) throw new Error(body.error?.message ?? `The server answered ${response.status}.`);
  return body.data.accessToken;
}

function refused(m) {
  wanted = false;
  given = '';
  ask();
  problem(`${m.message}. ${m.help ?? ''}`);
}

function forgotten() {
  wanted = false;
  identity = {};
  settings = { ...settings, consent: false };
  save();
  given = '';
  ask();
}

// ---- what the owner sees and does ----

const words = {
  starting: 'Starting', asking: 'Not a node', connecting: 'Connecting to the server', online: 'Online: this tab is a node',
  stopping: 'Stopping what runs here', paused: 'Paused: nothing runs here', broken: 'This tab cannot be a node', refused: 'Refused',
};

function show(next, message) {
  state = next;
  if (message || next === 'online') problem(message && next !== 'online' ? message : '');
  draw();
}

function problem(text) {
  $('problem').textContent = text;
  $('problem').hidden = !text;
  host?.show();
}

function draw() {
  $('status').dataset.state = state;
  const waits = state === 'paused' && wanted && settings.visible && document.hidden;
  $('status-text').textContent = waits ? 'Paused until this tab is visible' : words[state] ?? state;
  document.title = `${words[state] ?? state} · Stark`;
  $('join').hidden = state !== 'asking';
  $('node').hidden = ['asking', 'starting', 'declined'].includes(state) || (state === 'broken' && !identity.nodeId);
  $('node-name').textContent = settings?.name ?? '';
  $('node-server').textContent = location.host;
  $('node-id').textContent = identity.nodeId ?? 'none yet';
  const cpu = runs.reduce((n, r) => n + r.cpu, 0), memory = runs.reduce((n, r) => n + r.memoryMiB, 0);
  $('node-use').textContent = `${runs.length} ${runs.length === 1 ? 'pod' : 'pods'}, limits ${cpu / 1000} of ${settings?.cores ?? 0} cores, ${memory} of ${settings?.memory ?? 0} MiB`;
  $('node-conditions').textContent = [...conditions.values()].filter((c) => c.status).map((c) => c.type).join(', ') || 'visible';
  $('pause').hidden = !['online', 'connecting'].includes(state);
  $('resume').hidden = state !== 'paused';
  $('leave').disabled = state === 'stopping';
  $('nothing').hidden = runs.length > 0;
  drawRuns();
  host?.show();
}

function drawRuns() {
  const list = $('runs'), seen = new Map([...list.children].map((li) => [li.dataset.id, li]));
  for (const r of runs) {
    const li = seen.get(r.id) ?? list.appendChild(row(r));
    seen.delete(r.id);
    const text = `${r.namespace} · ${r.state} · since ${new Date(r.since).toLocaleTimeString()} · answers in ${delays.get(r.id) ?? 0} ms`;
    if (li.querySelector('small').textContent !== text) li.querySelector('small').textContent = text;
  }
  for (const li of seen.values()) li.remove();
}

function row(r) {
  const li = document.createElement('li'), text = document.createElement('div'), name = document.createElement('strong'), stop = document.createElement('button');
  li.dataset.id = r.id;
  name.textContent = `${r.name} ${r.version}`;
  text.append(name, document.createElement('small'));
  stop.type = 'button';
  stop.textContent = 'Stop';
  stop.setAttribute('aria-label', `Stop ${r.name} ${r.version}`);
  stop.onclick = () => { stop.disabled = true; worker.postMessage({ t: 'stopPod', id: r.id }); };
  li.append(text, stop);
  return li;
}

function fillCaps(box, prefix) {
  box.append($('caps').content.cloneNode(true));
  for (const label of box.querySelectorAll('[data-for]')) label.htmlFor = `${prefix}-${label.dataset.for}`;
  for (const input of box.querySelectorAll('[data-cap]')) {
    const key = input.dataset.cap, out = box.querySelector(`[data-out=${key}]`);
    input.id = `${prefix}-${key}`;
    if (key === 'cores') input.max = navigator.hardwareConcurrency || 2;
    if (key === 'memory') input.max = (navigator.deviceMemory || 4) * 512;
    if (input.type === 'checkbox') input.checked = settings[key];
    else input.value = settings[key];
    const write = () => { if (out) out.textContent = key === 'cores' ? `${input.value} of ${input.max}` : `${input.value} MiB`; };
    input.oninput = write;
    write();
  }
}

function readCaps(form) {
  for (const input of form.querySelectorAll('[data-cap]')) settings[input.dataset.cap] = input.type === 'checkbox' ? input.checked : Number(input.value);
}

// Caps count at once: the node leaves with all its pods and comes back with what it lends now.
function applyCaps(e) {
  e.preventDefault();
  readCaps($('caps-form'));
  save();
  if (['online', 'connecting'].includes(state)) takeBack(() => start(''));
  else draw();
}

function wire() {
  document.querySelectorAll('div[data-caps]').forEach((box, i) => fillCaps(box, `caps${i}`));
  $('join-form').onsubmit = join;
  $('caps-form').onsubmit = applyCaps;
  for (const radio of document.querySelectorAll('input[name=by]')) {
    radio.onchange = () => { for (const p of document.querySelectorAll('[data-by]')) p.hidden = p.dataset.by !== chosen(); };
  }
  $('pause').onclick = () => { wanted = false; takeBack(); };
  $('resume').onclick = () => start('');
  $('leave').onclick = quit;
  if (host) host.wire();
  live();
}

function quit() {
  wanted = false;
  settings.consent = false;
  save();
  takeBack(() => worker.postMessage({ t: 'forget' }));
}

// ---- how the tab lives ----

let busyUntil = 0;

function condition(type, status, reason, message) {
  const before = conditions.get(type);
  if (before?.status === status) return;
  conditions.set(type, { type, status, reason, message, lastTransitionTime: new Date().toISOString() });
  sendConditions();
  draw();
}

function sendConditions() { worker.postMessage({ t: 'conditions', conditions: [...conditions.values()] }); }

// A worker whose timer comes late gets less of the processor than it asks for.
function throttled(late) {
  if (late > 1000) busyUntil = performance.now() + 60_000;
  condition('Throttled', performance.now() < busyUntil, 'TimersLate', 'the timers of the tab come late');
}

function visible() {
  condition('Hidden', document.hidden, 'TabHidden', 'the tab is in the background');
  if (!settings.visible) return;
  if (document.hidden && ['online', 'connecting'].includes(state)) pause();
  else if (!document.hidden && wanted && state === 'paused') start('');
}

function live() {
  document.addEventListener('visibilitychange', visible);
  document.addEventListener('resume', () => worker.postMessage({ t: 'resumed' }));
  addEventListener('online', () => worker.postMessage({ t: 'online' }));
  addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); });
  addEventListener('pagehide', () => { leave(); end(); });
  visible();
  navigator.getBattery?.().then((b) => {
    const look = () => condition('OnBattery', !b.charging, 'OnBattery', 'the device runs on its battery');
    b.addEventListener('chargingchange', look);
    look();
  }, () => {});
}

// end gives up everything at once. A page that was left may go on in the browser's
// back-forward cache, with a worker that would connect anew and an identity that the
// next page in this tab waits for; whoever comes back to it loads it anew.
function end() {
  worker.terminate();
  for (const f of frames.values()) f.remove();
  release();
}

// leave tells the server that the tab goes, so that its pods move at once. A tab that
// cannot is found by its lease.
function leave() {
  if (!connection || !identity.credential) return;
  fetch('/api/nodes/leave', {
    method: 'POST', keepalive: true, body: JSON.stringify({ connectionId: connection }),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${identity.credential}` },
  }).catch(() => {});
}

{{host.js}}
