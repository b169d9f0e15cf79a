// The frame around the worker of one pod. Its origin is opaque, so nothing in it
// reaches the page, its storage or its credential. No code of a pack runs in this
// thread: it must be there to end the worker.
'use strict';

addEventListener('message', (first) => {
  const port = first.ports[0];
  if (first.source !== parent || !port) return;
  // By a data: URL, whose worker counts as a secure context: one of a blob: URL of an
  // opaque origin does not, and has no crypto.subtle.
  const worker = new Worker('data:text/javascript,' + encodeURIComponent(document.getElementById('pod').textContent));
  worker.onerror = (e) => { e.preventDefault(); port.postMessage({ t: 'error', message: e.message || 'the worker could not be started' }); };
  port.onmessage = ({ data: m, ports }) => {
    if (m.t === 'run') worker.postMessage(m.order, ports);
    else if (m.t === 'kill') { worker.terminate(); port.postMessage({ t: 'killed' }); }
    else if (m.t === 'ping') port.postMessage({ t: 'pong' });
  };
  port.postMessage({ t: 'up' });
}, { once: true });
