// Files is the storage of one run: names in memory, contents in IndexedDB. It goes
// with the run; what a crash has left is cleared when the agent starts. Names count as
// contents do: they are memory of the agent, which all pods share.
class Files {
  // inTurn(f) calls f when it is the turn of the pod.
  constructor(run, limit, inTurn) {
    this.run_ = run;
    this.limit = limit;
    this.inTurn = inTurn;
    this.used = 0;
    this.last = Promise.resolve(); // what was asked for last
    this.closed = false; // what waits for its turn is not done any more
    const now = Date.now();
    this.nodes = new Map([['/', { dir: true, size: 0, mtime: now, birthtime: now }]]);
  }

  // run goes through a generator, one at a time. It gives what is to be waited for, and takes
  // the thread from one wait to the next, each time in turn.
  run(steps) { this.last = this.last.then(() => this.goThrough(steps)).catch(reportError); }

  async goThrough(steps) {
    for (let step = () => steps.next(), done, value; ;) {
      ({ done, value } = await this.turn(step));
      if (done) return;
      await value.then((given) => { step = () => steps.next(given); }, (err) => { step = () => steps.throw(err); });
    }
  }

  turn(step) {
    return new Promise((resolve, reject) => {
      this.inTurn(() => {
        try { resolve(this.closed ? { done: true } : step()); } catch (err) { reject(err); }
      });
    });
  }

  // operation does one. Paths are as the adapters make them: from the root, without dots. A
  // pack may come past its adapters, so that is looked at here again.
  operation(op, args) {
    const f = { read: this.read, write: this.write, mkdir: this.mkdir, list: this.list, rmdir: this.rmdir, stat: this.stat, unlink: this.unlink, rename: this.rename, copy: this.copy };
    const paths = op === 'rename' || op === 'copy' ? args.slice(0, 2) : args.slice(0, 1);
    if (!Object.hasOwn(f, op) || !paths.length || !paths.every(straight)) throw wrong('EINVAL');
    return f[op].apply(this, args);
  }

  async close() {
    await this.last;
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

  // room asks for so many bytes more.
  room(more) { if (more > 0 && this.used + more > this.limit) throw wrong('ENOSPC'); }

  // place takes in what a path names from now on; its size counts elsewhere.
  place(path, node) {
    if (!this.nodes.has(path)) {
      if (this.nodes.size >= 10_000) throw wrong('ENOSPC');
      this.room(nameBytes(path));
      this.used += nameBytes(path);
    }
    this.nodes.set(path, node);
  }

  drop(path) { if (this.nodes.delete(path)) this.used -= nameBytes(path); }

  *read(path) {
    return this.file(path).size ? (yield transaction('files', 'readonly', (s) => s.get([this.run_, path]))).result : new Uint8Array();
  }

  *write(path, data, append) {
    if (!(data instanceof Uint8Array)) throw wrong('EINVAL');
    if (path === '/') throw wrong('EISDIR');
    this.folder(parent(path));
    const old = this.nodes.get(path);
    if (old?.dir) throw wrong('EISDIR');
    if (!old && this.nodes.size >= 10_000) throw wrong('ENOSPC');
    const before = old?.size ?? 0, size = append ? before + data.length : data.length;
    this.room(size - before + (old ? 0 : nameBytes(path)));
    let whole = data;
    if (append && before) {
      whole = new Uint8Array(size);
      whole.set(yield* this.read(path));
      whole.set(data, before);
    }
    yield transaction('files', 'readwrite', (s) => s.put(whole, [this.run_, path])).catch(() => { throw wrong('ENOSPC'); });
    this.used += size - before;
    this.place(path, { dir: false, size, mtime: Date.now(), birthtime: old?.birthtime ?? Date.now() });
  }

  *mkdir(path, recursive) {
    const there = this.nodes.get(path);
    if (there) {
      if (recursive && there.dir) return;
      throw wrong('EEXIST');
    }
    if (!recursive) this.folder(parent(path));
    else {
      let more = 0; // for all that is missing, or nothing is made
      for (let p = path; !this.nodes.has(p); p = parent(p)) more += nameBytes(p);
      this.room(more);
      try { yield* this.mkdir(parent(path), true); } catch (err) { throw err.code === 'EEXIST' ? wrong('ENOTDIR') : err; }
    }
    this.place(path, { dir: true, size: 0, mtime: Date.now(), birthtime: Date.now() });
  }

  *list(path) {
    this.folder(path);
    const start = path === '/' ? 1 : path.length + 1;
    return this.below(path).filter((p) => !p.slice(start).includes('/')).map((p) => ({ name: p.slice(start), dir: this.nodes.get(p).dir }));
  }

  *rmdir(path, recursive) {
    if (path === '/') throw wrong('EINVAL'); // every search for a folder ends at the root
    this.folder(path);
    const inside = this.below(path);
    if (inside.length && !recursive) throw wrong('ENOTEMPTY');
    for (const p of inside) if (!this.nodes.get(p).dir) yield* this.unlink(p);
    for (const p of [...inside, path]) this.drop(p);
  }

  *stat(path) {
    const n = this.node(path);
    return { dir: n.dir, size: n.size, atime: n.mtime, mtime: n.mtime, birthtime: n.birthtime };
  }

  *unlink(path) {
    const n = this.file(path);
    yield transaction('files', 'readwrite', (s) => s.delete([this.run_, path]));
    this.used -= n.size;
    this.drop(path);
  }

  *rename(from, to) {
    const n = this.node(from), over = this.nodes.get(to);
    if (from === to) return;
    if (from === '/' || to === '/') throw wrong('EINVAL');
    if (to.startsWith(from + '/')) throw wrong(n.dir ? 'EINVAL' : 'ENOTDIR');
    this.folder(parent(to));
    if (over?.dir && !n.dir) throw wrong('EISDIR');
    if (over && !over.dir && n.dir) throw wrong('ENOTDIR');
    if (over?.dir && this.below(to).length) throw wrong('ENOTEMPTY');
    const moved = [from, ...this.below(from)];
    this.room(moved.length * (nameBytes(to) - nameBytes(from)) - (over ? over.size + nameBytes(to) : 0));
    if (over) yield* over.dir ? this.rmdir(to, false) : this.unlink(to);
    for (const p of moved) yield* this.move(p, to + p.slice(from.length));
  }

  *move(from, to) {
    const n = this.nodes.get(from);
    if (!n.dir && n.size) {
      const data = yield* this.read(from);
      yield transaction('files', 'readwrite', (s) => { s.put(data, [this.run_, to]); s.delete([this.run_, from]); });
    }
    this.drop(from);
    this.place(to, n);
  }

  *copy(from, to) { yield* this.write(to, yield* this.read(from), false); }
}

// straight says whether a path leads from the root down, each name of it a name, by no more
// of them than the adapters let pass: whoever looks for one walks over all.
function straight(path) {
  return typeof path === 'string' && path.length <= 16_384 && path.split('/', 66).length <= 65
    && (path === '/' || /^(?:\/(?!\.{0,2}(?:\/|$))[^/\0]+)+$/.test(path));
}

// nameBytes is what a name takes: IndexedDB and memory have two bytes for a character.
function nameBytes(path) { return 2 * path.length; }

function parent(path) { return path.slice(0, Math.max(1, path.lastIndexOf('/'))); }

function wrong(code) { return Object.assign(new Error(code), { code }); }
