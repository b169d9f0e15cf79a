// Lets users of any web application lend their tabs to a cluster:
//
//   import { contribute } from 'https://stark.example/node/embed.js';
//   const node = contribute({ token: () => fetch('/join-token', { method: 'POST' }).then((r) => r.text()) });
//
// The node lives in a frame of the Stark server, which keeps its credential and asks
// the user. This page learns its state, and may pause and end it.

const SERVER = new URL('.', import.meta.url);
const SILENT_MS = 5000; // a frame that says nothing for so long after it was loaded may not be here

// A Contribution is one tab that is asked for, and then lent. It fires "state" whenever
// one of its properties has changed.
class Contribution extends EventTarget {
  #port = null;
  #token;
  #placed;

  constructor({ token, target, ...wish }) {
    super();
    if (typeof token !== 'function' && typeof token !== 'string') throw new TypeError('contribute needs a token: a text, or a function that gives one or a promise of one');
    this.#token = token;
    this.#placed = Boolean(target);
    this.state = 'loading';
    this.message = this.nodeId = this.nodeName = '';
    this.pods = 0;
    this.frame = this.#open(wish);
    (target ?? document.body).append(this.frame);
  }

  #open(wish) {
    const f = document.createElement('iframe');
    f.src = new URL('embed', SERVER).href;
    f.title = `Lend this tab to ${SERVER.host}`;
    Object.assign(f.style, { border: '0', width: '100%', height: '12rem', colorScheme: 'normal' });
    if (!this.#placed) Object.assign(f.style, { position: 'fixed', right: '1rem', bottom: '1rem', width: 'min(24rem, calc(100vw - 2rem))', maxHeight: 'calc(100vh - 2rem)', zIndex: '2147483647', boxShadow: '0 0 1rem #0006', borderRadius: '.5rem' });
    f.onload = () => {
      const { port1, port2 } = new MessageChannel();
      const { labels, namespaces, cores, memory, onlyWhileVisible, name } = wish;
      this.#port = port1;
      port1.onmessage = ({ data: m }) => { clearTimeout(silent); this.#hear(m); };
      const silent = setTimeout(() => this.#become({ state: 'broken', message: `${SERVER.origin} does not let ${location.origin} ask for tabs, or cannot be reached` }), SILENT_MS);
      f.contentWindow.postMessage({ stark: 'contribute', labels, namespaces, cores, memory, onlyWhileVisible, name }, SERVER.origin, [port2]);
    };
    return f;
  }

  #hear(m) {
    if (m.t === 'height') this.frame.style.height = `${m.height}px`;
    else if (m.t === 'token') this.#give(m.id);
    else if (m.t === 'state') {
      const { state, message, nodeId, nodeName, pods } = m;
      this.#become({ state, message, nodeId, nodeName, pods });
      if (state === 'declined') this.remove();
    }
  }

  async #give(id) {
    try {
      this.#port.postMessage({ t: 'token', id, token: typeof this.#token === 'function' ? await this.#token() : this.#token });
    } catch (err) {
      this.#port.postMessage({ t: 'token', id, error: String(err?.message ?? err) });
    }
  }

  #become(now) {
    if (Object.entries(now).every(([k, v]) => this[k] === v)) return;
    Object.assign(this, now);
    this.dispatchEvent(new Event('state'));
  }

  pause() { this.#port?.postMessage({ t: 'pause' }); }

  // resume ends a pause of this page; one of the user's it leaves alone.
  resume() { this.#port?.postMessage({ t: 'resume' }); }

  // leave gives the node up: the user is asked again before the tab is one again.
  leave() { this.#port?.postMessage({ t: 'leave' }); }

  // remove takes the frame away. The node leaves the cluster, and comes back without a question at the next visit.
  remove() {
    this.frame.remove();
    this.#port?.close();
    this.#port = null;
    if (this.state !== 'declined') this.#become({ state: 'removed', pods: 0 });
  }
}

// contribute asks the user for this tab. Of the options only token is needed:
//   token             join token of a node, or a function that gives one when the user agrees
//   target            element that the frame is put into; without one it stands in the corner
//   namespaces        namespaces that the node serves beside those of the token's owner
//   labels, name      of the node
//   cores, memory, onlyWhileVisible   what the user is asked for at first; memory in MiB
export function contribute(options) { return new Contribution(options ?? {}); }
