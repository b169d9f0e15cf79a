// Tries everything that a universal pack may count on, and prints what it finds: the
// lines must be the same on every runtime, to the byte.
module.exports = async ({ env, log, storage, http, workers, onStop, pod }) => {
  const show = (name, value) => log.info(name, { value });
  const attempt = async (name, f) => {
    try { show(name, await f()); } catch (err) { show(name, { name: err.name, code: err.code, message: err.message }); }
  };

  // what a pack is told
  show('env', Object.keys(env).sort());
  show('pod', [pod.name, pod.version, pod.namespace, pod.attempt, Object.isFrozen(pod), Object.isFrozen(env)]);

  // storage
  await storage.initialize();
  await attempt('missing', () => storage.readFile('/nothing'));
  await attempt('above', () => storage.readFile('../etc/passwd'));
  await attempt('empty name', () => storage.writeFile('', 'x'));
  await attempt('no folder', () => storage.writeFile('/a/b.txt', 'x'));
  await attempt('mkdir', () => storage.mkdir('/a/deep/er'));
  await attempt('mkdir twice', () => storage.mkdir('/a', false));
  await attempt('write', () => storage.writeFile('a/b.txt', 'grüße 🌍\n'));
  await attempt('append', () => storage.appendFile('/a/./b.txt', 'more'));
  await attempt('read', () => storage.readFile('/a/deep/../b.txt'));
  await attempt('bytes', async () => Array.from(await storage.readFileBytes('/a/b.txt')));
  await attempt('latin1', () => storage.readFile('/a/b.txt', 'latin1'));
  await attempt('no encoding', () => storage.readFile('/a/b.txt', 'klingon'));
  const binary = new Uint8Array(70_000).map((_, i) => (i * 7) % 256);
  await attempt('binary', async () => {
    await storage.writeFile('/bin', binary.subarray(3));
    const back = await storage.readFileBytes('/bin');
    return [back.length, back.every((b, i) => b === binary[i + 3]), back instanceof Uint8Array, back.constructor.name];
  });
  await attempt('stat', async () => { const s = await storage.stat('/bin'); return [s.size, s.isFile(), s.isDirectory(), s.isSymbolicLink(), s.mode, s.mtime instanceof Date]; });
  await attempt('stat folder', async () => { const s = await storage.stat('/a'); return [s.size, s.isFile(), s.isDirectory(), s.mode]; });
  await attempt('exists', async () => [await storage.exists('/bin'), await storage.exists('/bin/x'), await storage.exists('/no'), await storage.isFile('/a'), await storage.isDirectory('/a')]);
  await attempt('list', async () => [await storage.readdir('/'), await storage.readdir('a'), (await storage.readdirWithTypes('/a')).map((e) => [e.name, e.isDirectory()])]);
  await attempt('list a file', () => storage.readdir('/bin'));
  await attempt('file as folder', () => storage.writeFile('/bin/x', '1'));
  await attempt('read a folder', () => storage.readFile('/a'));
  await attempt('rmdir full', () => storage.rmdir('/a'));
  await attempt('rmdir a file', () => storage.rmdir('/bin'));
  await attempt('unlink a folder', () => storage.unlink('/a'));
  await attempt('copy', async () => { await storage.copyFile('/a/b.txt', '/c.txt'); return storage.readFile('/c.txt'); });
  await attempt('copy a folder', () => storage.copyFile('/a', '/d'));
  await attempt('rename', async () => { await storage.rename('/c.txt', '/a/deep/c.txt'); return [await storage.exists('/c.txt'), await storage.readdir('/a/deep')]; });
  await attempt('rename a folder', async () => { await storage.rename('/a', '/z'); return storage.readFile('/z/deep/c.txt'); });
  await attempt('rename into itself', () => storage.rename('/z', '/z/deep/z'));
  await attempt('rename missing', () => storage.rename('/no', '/yes'));
  await attempt('rename a file below itself', () => storage.rename('/bin', '/bin/of-itself'));
  await attempt('a name with half a pair', async () => { await storage.writeFile('/half\ud800', 'x'); const names = await storage.readdir('/'); await storage.unlink('/half\ufffd'); return names; });
  await attempt('rmdir recursive', async () => { await storage.rmdir('/z', true); return storage.readdir('/'); });
  // beyond the pod's limit of 1 MiB, and what makes room again
  const half = new Uint8Array(2 ** 19);
  await attempt('half', () => storage.writeFile('/one', half));
  await attempt('all', () => storage.writeFile('/two', half.subarray(70_200)));
  await attempt('too much', () => storage.appendFile('/one', 'x'.repeat(80_000)));
  await attempt('a copy more', () => storage.copyFile('/one', '/three'));
  await attempt('the same again', () => storage.writeFile('/one', half));
  await attempt('over another', () => storage.rename('/two', '/one'));
  await attempt('room', () => storage.writeFile('/two', half.subarray(70_200)));
  await attempt('a folder of it', async () => { await storage.mkdir('/f'); await storage.rename('/two', '/f/two'); await storage.rmdir('/f', true); });
  await attempt('room again', async () => { await storage.writeFile('/two', half.subarray(70_200)); await storage.unlink('/one'); await storage.writeFile('/one', half); });
  await attempt('nothing more', () => storage.appendFile('/one', 'x'.repeat(80_000)));
  await attempt('left', async () => Promise.all((await storage.readdir('/')).map(async (n) => [n, (await storage.stat('/' + n)).size])));
  // names take room as well
  await attempt('room for names', async () => { for (const n of await storage.readdir('/')) await storage.unlink('/' + n); });
  const long = (i) => '/' + String(i).padEnd(250, 'n');
  await attempt('folders', async () => { for (let i = 0; ; i++) try { await storage.mkdir(`${long(0)}${long(i)}`); } catch (err) { return [i, err.code]; } });
  await attempt('empty file', () => storage.writeFile(long(1), ''));
  await attempt('short folders', () => storage.mkdir(`${long(2)}/a/b`));
  await attempt('longer names', () => storage.rename(long(0), long(0) + 'n'));
  await attempt('shorter names', () => storage.rename(long(0), '/n'));
  await attempt('names again', async () => { await storage.writeFile(long(1), ''); await storage.rmdir('/n', true); await storage.writeFile('/one', half); });
  await attempt('names left', () => storage.readdir('/'));
  await attempt('a long name', () => storage.writeFile('/' + 'x'.repeat(256), '1'));

  // http
  const client = http.create({ baseUrl: env.ECHO, retryDelay: 5 });
  client.setDefaultHeader('X-Pack', 'conformance');
  client.setAuthToken('t0ken');
  await attempt('get', async () => { const r = await client.get('/json', { query: { a: 1, b: 'ü' } }); return [r.status, r.data, r.headers['content-type'], typeof r.duration]; });
  await attempt('post', async () => (await client.post('/echo', { n: [1, 2, { deep: null }] })).data);
  await attempt('put bytes', async () => Array.from((await client.put('/bytes', new Uint8Array([0, 255, 10]), { responseType: 'bytes' })).data));
  await attempt('head', async () => { const r = await client.head('/json'); return [r.status, r.data]; });
  await attempt('404', () => client.get('/missing'));
  await attempt('404 without throw', async () => (await client.get('/missing', { throwOnError: false })).status);
  await attempt('retries', async () => (await client.get(`/flaky?key=${env.STARK_POD_ID}`, { retries: 3 })).data);
  await attempt('timeout', () => client.get('/slow', { timeout: 50 }));
  await attempt('abort', () => { const c = client.createAbortController(); setTimeout(() => c.abort(), 20); return client.get('/slow', { signal: c.signal }); });
  await attempt('unreachable', () => client.get('http://127.0.0.1:9/'));
  await attempt('no address', () => http.get('relative'));
  await attempt('not json', () => client.get('/text', { responseType: 'json' }));
  client.use({ request: (o) => ({ ...o, url: '/json' }), response: (r) => ({ ...r, data: 'changed' }) });
  await attempt('interceptors', async () => (await client.get('/anything')).data);
  client.dispose();
  await attempt('disposed', () => client.get('/json'));

  // workers
  await workers.initialize({ maxWorkers: 2, methods: { twice: (n) => 2 * n, async later(n) { await null; return -n; } } });
  await attempt('exec', () => workers.exec((a, b) => a + b, [20, 22]));
  await attempt('many', () => Promise.all([1, 2, 3, 4, 5].map((n) => workers.exec((x) => x * x, [n]))));
  await attempt('method', async () => [await workers.execMethod('twice', [4]), await workers.proxy().later(5)]);
  await attempt('no method', () => workers.execMethod('thrice', [1]));
  await attempt('no function', () => workers.exec('2 + 2'));
  await attempt('throws', () => workers.exec(() => { throw new RangeError('too far'); }));
  await attempt("bytes to a worker", async () => Array.from(await workers.exec((b) => b.map((x) => x + 1), [new Uint8Array([1, 2, 254])])));
  await attempt('endless', () => workers.exec(() => { for (;;); }, [], { timeout: 100 }));
  await attempt('cancelled', () => { const t = workers.execCancellable(() => { for (;;); }); setTimeout(t.cancel, 50); return t.promise; });
  await attempt('after', () => workers.exec(() => 'still works'));
  await attempt('stats', () => { const s = workers.getStats(); return [s.activeTasks, s.pendingTasks, s.busyWorkers]; });
  await attempt('terminate', async () => { await workers.terminate(); return workers.getStats().totalWorkers; });
  await attempt('terminated', () => workers.exec(() => 1));

  // timers, binary data, text
  const order = [];
  await new Promise((done) => { setTimeout(() => { order.push('b'); done(); }, 30); setTimeout(() => order.push('a'), 5); queueMicrotask(() => order.push('m')); });
  show('timers', order);
  show('numbers', [0.1 + 0.2, 1e21, -0, 2 ** 53, (1234.5).toFixed(2)]);
  show('digest', Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode('stark')))));
  show('structured', structuredClone({ d: new Date(0), m: [...new Map([[1, { a: 1 }]])] }));
  onStop(() => log.info('stopped'));
  log.info('done');
};
