// ---- the page of another site around this one ----

// Host is the page that asks its users for their tabs, see embed.js. It gives the
// token, and may pause and end what it asked for; what is lent, the owner says here.
class Host {
  constructor(origin, port, wish) {
    Object.assign(this, { origin, port, asked: new Map(), questions: 0, paused: false });
    const texts = (o) => Object.fromEntries(Object.entries(Object(o)).slice(0, 64).map(([k, v]) => [k, String(v)]));
    const within = (n, most) => (Number.isInteger(n) && n > 0 ? Math.min(n, most) : undefined);
    this.labels = texts(wish.labels);
    this.namespaces = Array.isArray(wish.namespaces) ? wish.namespaces.slice(0, 100).map(String) : undefined;
    const wished = {
      cores: within(wish.cores, navigator.hardwareConcurrency || 2), memory: within(wish.memory, (navigator.deviceMemory || 4) * 512),
      visible: typeof wish.onlyWhileVisible === 'boolean' ? wish.onlyWhileVisible : undefined, name: typeof wish.name === 'string' ? wish.name : undefined,
    };
    this.defaults = Object.fromEntries(Object.entries(wished).filter(([, v]) => v !== undefined));
    port.onmessage = ({ data: m }) => this.hear(m);
    this.tell({ t: 'up' });
  }

  tell(m) { this.port.postMessage(m); }

  show() {
    this.tell({ t: 'state', state, message: $('problem').textContent, nodeId: identity.nodeId ?? '', nodeName: settings?.name ?? '', pods: runs.length });
  }

  // token asks for what lets a node join; the answer is not kept.
  token() {
    return new Promise((resolve, reject) => {
      const id = ++this.questions;
      this.asked.set(id, { resolve, reject });
      this.tell({ t: 'token', id });
    });
  }

  hear(m) {
    if (m?.t === 'token') {
      const waiting = this.asked.get(m.id);
      this.asked.delete(m.id);
      if (typeof m.token === 'string' && m.token) waiting?.resolve(m.token);
      else waiting?.reject(new Error(`${this.origin} gave no token${m.error ? `: ${String(m.error).slice(0, 200)}` : '.'}`));
    } else if (m?.t === 'pause' && ['online', 'connecting'].includes(state)) {
      this.paused = true;
      $('pause').onclick();
    } else if (m?.t === 'resume' && this.paused && state === 'paused') start(''); // never what the owner has paused
    else if (m?.t === 'leave') quit();
  }

  wire() {
    document.body.classList.add('embedded');
    $('asks-origin').textContent = this.origin;
    $('join-caps').open = false;
    $('asks').hidden = $('no').hidden = false;
    $('decline').onclick = () => show('declined');
    for (const id of ['pause', 'resume']) $(id).addEventListener('click', (e) => { if (e.isTrusted) this.paused = false; });
    new ResizeObserver(() => this.tell({ t: 'height', height: Math.ceil(document.documentElement.getBoundingClientRect().height) })).observe(document.documentElement);
  }
}

// around waits for that page. Which sites may be around this page says its policy.
function around() {
  return new Promise((resolve) => {
    addEventListener('message', function first(e) {
      if (parent === window || e.source !== parent || e.data?.stark !== 'contribute' || !e.ports[0]) return;
      removeEventListener('message', first);
      resolve(new Host(e.origin, e.ports[0], e.data));
    });
  });
}
