// The page that shows the picture while it grows: a frame in a worker's colour around each
// tile that is lent, and the tile itself as soon as it is there.
export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fractal swarm</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: dark; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; background: #10141b; color: #e7ebf1; }
h1 { font-size: 1.2rem; margin: 0; } p { margin: .3rem 0; } .soft { color: #aab4c3; }
canvas { width: 100%; height: auto; display: block; margin: .8rem 0; background: #000; border-radius: .4rem; cursor: zoom-in; }
progress { width: 100%; height: .6rem; }
ul { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .3rem 1rem; }
li { display: flex; gap: .5rem; align-items: center; } i { width: .9rem; height: .9rem; border-radius: .2rem; flex: none; }
button { font: inherit; padding: .4rem .9rem; border-radius: .4rem; border: 1px solid #aab4c3; background: none; color: inherit; cursor: pointer; }
:focus-visible { outline: 3px solid #7db8f5; outline-offset: 2px; }
</style>
</head>
<body>
<main>
<h1>Fractal swarm</h1>
<p id="text" role="status">Waiting for the board</p>
<progress id="bar" value="0" max="1" aria-label="Tiles done"></progress>
<canvas id="picture" role="img" aria-label="The Mandelbrot set, drawn tile by tile"></canvas>
<p><button type="button" id="in">Zoom in</button> <button type="button" id="whole">Whole picture</button> <span class="soft">or click into the picture</span></p>
<ul id="workers" aria-label="Workers"></ul>
</main>
<script>
const $ = (id) => document.getElementById(id), canvas = $('picture'), g = canvas.getContext('2d');
let job = null, workers = new Map(), lent = new Map(), done = 0, returned = 0;
const palette = Array.from({ length: 256 }, (_, n) => (n === 0 ? [0, 0, 0] : [0, 2, 4].map((s) => Math.round(127.5 + 127.5 * Math.sin(0.11 * n + s)))));
const colour = (id) => 'hsl(' + [...id].reduce((h, c) => (h * 31 + c.charCodeAt(0)) % 360, 7) + ' 85% 62%)';
const place = (tile) => ({ left: (tile % job.columns) * job.size, top: Math.floor(tile / job.columns) * job.size });
const events = new EventSource('/events');
events.onmessage = (e) => { const m = JSON.parse(e.data); on[m.t](m); draw(); };
events.onerror = () => { $('text').textContent = 'The board does not answer; trying again'; };
const on = {
  start(m) {
    job = m; done = 0; returned = m.returned; lent = new Map(); workers = new Map();
    canvas.width = m.width; canvas.height = m.height;
    for (const w of m.workers) workers.set(w.worker, { ...w, tiles: 0 });
    for (const l of m.lent) on.lent(l);
  },
  lent({ tile, worker, runtime }) {
    lent.set(tile, worker);
    if (!workers.has(worker)) workers.set(worker, { worker, runtime, tiles: 0 });
    const { left, top } = place(tile);
    g.strokeStyle = colour(worker); g.lineWidth = 3; g.strokeRect(left + 2, top + 2, job.size - 4, job.size - 4);
  },
  back({ tile }) {
    lent.delete(tile); returned++;
    const { left, top } = place(tile);
    g.clearRect(left, top, job.size, job.size);
  },
  done({ tile, worker, pixels }) {
    lent.delete(tile); done++;
    if (!workers.has(worker)) workers.set(worker, { worker, tiles: 0 });
    workers.get(worker).tiles++;
    const { left, top } = place(tile), bytes = Uint8Array.from(atob(pixels), (c) => c.charCodeAt(0));
    const width = Math.min(job.size, job.width - left), image = g.createImageData(width, bytes.length / width);
    bytes.forEach((b, i) => image.data.set([...palette[b], 255], 4 * i));
    g.putImageData(image, left, top);
  },
};
function draw() {
  const busy = new Set(lent.values());
  $('bar').max = job.total; $('bar').value = done;
  $('text').textContent = done + ' of ' + job.total + ' tiles, ' + busy.size + ' at work' + (returned ? ', ' + returned + ' handed out again' : '');
  $('workers').replaceChildren(...[...workers.values()].map((w) => {
    const li = document.createElement('li'), i = document.createElement('i');
    i.style.background = colour(w.worker);
    li.append(i, (w.runtime === 'browser' ? 'tab ' : w.runtime === 'node' ? 'host ' : '') + w.worker.slice(0, 8) + ': ' + w.tiles + (busy.has(w.worker) ? ', at work' : ''));
    return li;
  }));
}
const zoom = (x, y, width) => fetch('/zoom', { method: 'POST', body: JSON.stringify({ x, y, width }) });
function closer(fx, fy) {
  const { view, width, height } = job, w = (width * view.step) / 4, h = (height * view.step) / 4;
  zoom(view.x + fx * width * view.step - w / 2, view.y + fy * height * view.step - h / 2, w);
}
canvas.onclick = (e) => { const b = canvas.getBoundingClientRect(); closer((e.clientX - b.left) / b.width, (e.clientY - b.top) / b.height); };
$('in').onclick = () => closer(.31, .47);
$('whole').onclick = () => zoom(-2.2, -1.2, 3.6);
</script>
</body>
</html>`;
