// The frame around one pod. Its origin is opaque, so nothing in it reaches the page, its
// storage or its credential. Of most pods no code runs in this thread: it must be there to
// end their worker. A pack that shows something runs here, in a process of its own where
// the browser has one for it (Document-Isolation-Policy).
'use strict';

// Packs that show something may speak to any frame of the page, and are not heard.
addEventListener('message', function take(first) {
  const port = first.ports[0];
  if (first.source !== parent || !port) return;
  removeEventListener('message', take);
  const source = document.getElementById('pod').textContent;
  const post = port.postMessage.bind(port); // before a pack is here, which may change every prototype
  const host = location.search === '?ui' ? inThisThread() : inWorker();
  port.onmessage = ({ data: m, ports }) => {
    if (m.t === 'run') host.run(m.order, ports);
    else if (m.t === 'kill') { host.end(); post({ t: 'killed' }); }
    else if (m.t === 'ping') post({ t: 'pong' });
  };
  post({ t: 'up' });

  function inWorker() {
    // By a data: URL, whose worker counts as a secure context: one of a blob: URL of an
    // opaque origin does not, and has no crypto.subtle.
    const worker = new Worker('data:text/javascript,' + encodeURIComponent(source));
    worker.onerror = (e) => { e.preventDefault(); post({ t: 'error', message: e.message || 'the worker could not be started' }); };
    return { run: (order, ports) => worker.postMessage(order, ports), end: () => worker.terminate() };
  }

  // The agent takes the frame away: nothing else ends what runs here.
  function inThisThread() {
    (0, eval)(source);
    const serve = globalThis.starkServe;
    delete globalThis.starkServe;
    const root = document.createElement('div');
    document.body.style.margin = '0';
    document.body.replaceChildren(root);
    return { run: (order, ports) => serve(ports[0], order, root), end() {} };
  }
});
