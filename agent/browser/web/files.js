// Files is the storage of one run: names in memory, contents in IndexedDB. It goes
// with the run; what a crash has left is cleared when the agent starts.
class Files {
  constructor(run, limit) {
    this.run_ = run;
    this.limit = limit;
    this.used = 0;
    this.turn = Promise.resolve();
    this.closed = false; // what waits for its turn is not begun any more
    const now = Date.now();
    this.nodes = new Map([['/', { dir: true, size: 0, mtime: now, birthtime: now }]]);
  }

  // run does one operation at a time. Paths are as the adapters make them: from the root,
  // without dots. A pack may come past its adapters, so that is looked at here again.
  run(op, args) {
    const f = { read: this.read, write: this.write, mkdir: this.mkdir, list: this.list, rmdir: this.rmdir, stat: this.stat, unlink: this.unlink, rename: this.rename, copy: this.copy }[op];
    const paths = op === 'rename' || op === 'copy' ? args.slice(0, 2) : args.slice(0, 1);
    if (!f || !paths.length || !paths.every(straight)) return Promise.reject(wrong('EINVAL'));
    const result = this.turn.then(() => {
      if (this.closed) throw wrong('EIO');
      return f.apply(this, args);
    });
    this.turn = result.catch(() => {});
    return result;
  }

  async close() {
    await this.turn;
    await request('files', 'readwrite', (s) => s.delete(IDBKeyRange.bound([this.run_], [this.run_, []])));
  }

  node(path) {
    const n = this.nodes.get(path);
    if (n) return n;
    for (let p = parent(path); ; p = parent(p)) {
      const up = this.nodes.get(p);
      if (up) throw wrong(up.dir ? 'ENOENT' : 'ENOTDIR');
    }
  }

  folder(path) {
    const n = this.node(path);
    if (!n.dir) throw wrong('ENOTDIR');
    return n;
  }

  file(path) {
    const n = this.node(path);
    if (n.dir) throw wrong('EISDIR');
    return n;
  }

  below(path) {
    const start = path === '/' ? '/' : path + '/';
    return [...this.nodes.keys()].filter((p) => p !== '/' && p.startsWith(start));
  }

  async read(path) {
    return this.file(path).size ? request('files', 'readonly', (s) => s.get([this.run_, path])) : new Uint8Array();
  }

  async write(path, data, append) {
    if (!(data instanceof Uint8Array)) throw wrong('EINVAL');
    if (path === '/') throw wrong('EISDIR');
    this.folder(parent(path));
    const old = this.nodes.get(path);
    if (old?.dir) throw wrong('EISDIR');
    if (!old && this.nodes.size >= 10_000) throw wrong('ENOSPC');
    const before = old?.size ?? 0, size = append ? before + data.length : data.length;
    if (this.used - before + size > this.limit) throw wrong('ENOSPC');
    let whole = data;
    if (append && before) {
      whole = new Uint8Array(size);
      whole.set(await request('files', 'readonly', (s) => s.get([this.run_, path])));
      whole.set(data, before);
    }
    await request('files', 'readwrite', (s) => s.put(whole, [this.run_, path])).catch(() => { throw wrong('ENOSPC'); });
    this.used += size - before;
    this.nodes.set(path, { dir: false, size, mtime: Date.now(), birthtime: old?.birthtime ?? Date.now() });
  }

  async mkdir(path, recursive) {
    const there = this.nodes.get(path);
    if (there) {
      if (recursive && there.dir) return;
      throw wrong('EEXIST');
    }
    if (recursive) await this.mkdir(parent(path), true).catch((err) => { throw err.code === 'EEXIST' ? wrong('ENOTDIR') : err; });
    else this.folder(parent(path));
    if (this.nodes.size >= 10_000) throw wrong('ENOSPC');
    this.nodes.set(path, { dir: true, size: 0, mtime: Date.now(), birthtime: Date.now() });
  }

  async list(path) {
    this.folder(path);
    const start = path === '/' ? 1 : path.length + 1;
    return this.below(path).filter((p) => !p.slice(start).includes('/')).map((p) => ({ name: p.slice(start), dir: this.nodes.get(p).dir }));
  }

  async rmdir(path, recursive) {
    if (path === '/') throw wrong('EINVAL'); // every search for a folder ends at the root
    this.folder(path);
    const inside = this.below(path);
    if (inside.length && !recursive) throw wrong('ENOTEMPTY');
    for (const p of inside) if (!this.nodes.get(p).dir) await this.unlink(p);
    for (const p of [...inside, path]) this.nodes.delete(p);
  }

  async stat(path) {
    const n = this.node(path);
    return { dir: n.dir, size: n.size, atime: n.mtime, mtime: n.mtime, birthtime: n.birthtime };
  }

  async unlink(path) {
    const n = this.file(path);
    await request('files', 'readwrite', (s) => s.delete([this.run_, path]));
    this.used -= n.size;
    this.nodes.delete(path);
  }

  async rename(from, to) {
    const n = this.node(from), over = this.nodes.get(to);
    if (from === to) return;
    if (from === '/' || to === '/') throw wrong('EINVAL');
    if (to.startsWith(from + '/')) throw wrong(n.dir ? 'EINVAL' : 'ENOTDIR');
    this.folder(parent(to));
    if (over?.dir && !n.dir) throw wrong('EISDIR');
    if (over && !over.dir && n.dir) throw wrong('ENOTDIR');
    if (over?.dir && this.below(to).length) throw wrong('ENOTEMPTY');
    if (over && !over.dir) await this.unlink(to);
    for (const p of [from, ...this.below(from)]) await this.move(p, to + p.slice(from.length));
  }

  async move(from, to) {
    const n = this.nodes.get(from);
    if (!n.dir && n.size) {
      const data = await this.read(from);
      await request('files', 'readwrite', (s) => { s.put(data, [this.run_, to]); s.delete([this.run_, from]); });
    }
    this.nodes.delete(from);
    this.nodes.set(to, n);
  }

  async copy(from, to) { await this.write(to, await this.read(from), false); }
}

// straight says whether a path leads from the root down, each name of it a name, by no more
// of them than the adapters let pass: whoever looks for one walks over all.
function straight(path) {
  return typeof path === 'string' && path.length <= 16_384 && path.split('/', 66).length <= 65
    && (path === '/' || /^(?:\/(?!\.{0,2}(?:\/|$))[^/\0]+)+$/.test(path));
}

function parent(path) { return path.slice(0, Math.max(1, path.lastIndexOf('/'))); }

function wrong(code) { return Object.assign(new Error(code), { code }); }
