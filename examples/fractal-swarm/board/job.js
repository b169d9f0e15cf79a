import { createHash, randomUUID } from "node:crypto";

// Job is one picture, cut into tiles. A tile waits, or is lent for a time, or is done. What
// is not brought back in time waits again, in front of the others: so a worker that goes
// away loses nothing but its own work. Results depend on the tile alone, so the first one
// counts and a late one is as good.
export class Job {
  constructor({ width, height, size, iterations, leaseMs, view, tell }) {
    Object.assign(this, { width, height, size, iterations, leaseMs, view, tell });
    this.id = randomUUID();
    this.columns = Math.ceil(width / size);
    this.total = this.columns * Math.ceil(height / size);
    this.waiting = Array.from({ length: this.total }, (_, i) => i);
    this.leases = new Map();
    this.done = new Map();
    this.workers = new Map();
    this.returned = 0;
  }

  // next lends a tile to a worker, or gives undefined.
  next(worker) {
    const tile = this.waiting.shift();
    if (tile === undefined) return undefined;
    const lease = randomUUID();
    const timer = setTimeout(() => this.back(lease), this.leaseMs);
    this.leases.set(lease, { tile, worker, timer });
    if (!this.workers.has(worker.worker)) this.workers.set(worker.worker, { ...worker, tiles: 0 });
    this.tell({ t: "lent", tile, ...worker });
    return { lease, unit: this.unit(tile) };
  }

  unit(tile) {
    const { x, y, step } = this.view;
    const left = (tile % this.columns) * this.size, top = Math.floor(tile / this.columns) * this.size;
    return {
      tile, iterations: this.iterations, step, x: x + left * step, y: y + top * step,
      width: Math.min(this.size, this.width - left), height: Math.min(this.size, this.height - top),
    };
  }

  // back takes a lease away; its tile is next.
  back(lease) {
    const held = this.leases.get(lease);
    if (!held) return;
    clearTimeout(held.timer);
    this.leases.delete(lease);
    this.waiting.unshift(held.tile);
    this.returned++;
    this.tell({ t: "back", tile: held.tile, worker: held.worker.worker });
  }

  // bring reports whether a result was taken.
  bring(lease, pixels) {
    const held = this.leases.get(lease);
    if (!held) return false;
    const { width, height } = this.unit(held.tile);
    if (pixels.length !== width * height) return false;
    clearTimeout(held.timer);
    this.leases.delete(lease);
    this.done.set(held.tile, { pixels, worker: held.worker.worker });
    this.workers.get(held.worker.worker).tiles++;
    this.tell(this.shown(held.tile));
    return true;
  }

  shown(tile) {
    const { pixels, worker } = this.done.get(tile);
    return { t: "done", tile, worker, pixels: pixels.toString("base64") };
  }

  state() {
    const { id, width, height, size, columns, total, returned, view } = this;
    const lent = [...this.leases.values()].map(({ tile, worker }) => ({ tile, ...worker }));
    return { id, width, height, size, columns, total, returned, view, done: this.done.size, lent, workers: [...this.workers.values()], sha256: this.digest() };
  }

  // digest is the picture's, once it is whole.
  digest() {
    if (this.done.size < this.total) return "";
    const sum = createHash("sha256");
    for (let tile = 0; tile < this.total; tile++) sum.update(this.done.get(tile).pixels);
    return sum.digest("hex");
  }

  end() { for (const { timer } of this.leases.values()) clearTimeout(timer); }
}
