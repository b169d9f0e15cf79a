// A worker asks the board for a tile, computes it in another thread, and brings it back.
// It keeps nothing: if it is ended at any moment, the board hands its tile out again.
export default async function worker({ pod, env, log, http, workers, signal, ready }) {
  const board = http.create({ baseUrl: env.BOARD, timeout: 10_000, retries: 5, retryDelay: 250 });
  const me = { worker: pod.id, node: pod.nodeId, runtime: pod.runtime };
  let tiles = 0;
  ready();
  while (!signal.aborted) {
    let work;
    try {
      work = (await board.post("/work", me, { signal })).data;
    } catch (err) {
      if (signal.aborted) break;
      log.warn(`the board does not answer: ${err.message}`);
      await pause(1000, signal);
      continue;
    }
    if (!work.unit) {
      await pause(work.retryMs, signal);
      continue;
    }
    try {
      const pixels = await workers.exec(mandelbrot, [work.unit], { signal });
      await board.post(`/results/${work.lease}`, pixels, { signal, headers: { "content-type": "application/octet-stream" } });
      tiles++;
    } catch (err) {
      if (signal.aborted) await board.delete(`/leases/${work.lease}`).catch(() => {}); // somebody else may begin at once
      else log.warn(`tile ${work.unit.tile} was not brought back: ${err.message}`);
    }
  }
  log.info(`computed ${tiles} tiles`);
}

function pause(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}

// mandelbrot gives a byte for each point: how soon it escapes, 0 if it does not. It adds
// and multiplies only, so that all machines agree on every bit.
function mandelbrot({ x, y, step, width, height, iterations }) {
  const pixels = new Uint8Array(width * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const cx = x + column * step, cy = y + row * step;
      let zx = 0, zy = 0, n = 0;
      while (n < iterations) {
        const xx = zx * zx, yy = zy * zy;
        if (xx + yy > 4) break;
        zy = 2 * zx * zy + cy;
        zx = xx - yy + cx;
        n++;
      }
      pixels[row * width + column] = n === iterations ? 0 : 1 + (n % 255);
    }
  }
  return pixels;
}
