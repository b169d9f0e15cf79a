package web

import "testing"

// pathTest tries what paths the storage of a tab looks at: a pack may come past the adapters
// that make them.
const pathTest = `
const assert = require('node:assert');
for (const path of ['/', '/a', '/a.b/..c', '/a'.repeat(64), ('/' + 'x'.repeat(255)).repeat(64)]) assert(straight(path), path.slice(0, 20));
for (const path of ['', 'a', '/a/', '//', '/.', '/a/..', '/a/../b', '/\0', '/a'.repeat(65), '/a'.repeat(8192), '/'.repeat(70), '/' + 'x'.repeat(16_384), undefined, 7]) {
  assert(!straight(path), String(path).slice(0, 20));
}
`

// filesWorld is a storage whose files have no content that counts: a database gives back
// what nobody looks at.
const filesWorld = `
const assert = require('node:assert');
globalThis.reportError = (err) => { console.error(err); process.exit(1); };
const transaction = async () => ({ result: new Uint8Array() });
const request = transaction;
const storage = (limit) => new Files('r', limit, (work) => work());
async function ask(f, op, ...args) {
  const steps = f.operation(op, args);
  let s = steps.next();
  while (!s.done) s = steps.next(await s.value);
  return s.value;
}
const told = (f, op, ...args) => ask(f, op, ...args).then(() => '', (err) => err.code ?? String(err));
// kept is what a storage holds, with two bytes for each character of a path.
const kept = (f) => [...f.nodes].reduce((sum, [path, n]) => path === '/' ? sum : sum + n.size + 2 * path.length, 0);
`

func runFiles(t *testing.T, test string) {
	t.Helper()
	runNode(t, source(t, "files.js")+filesWorld+
		"(async () => {"+test+"\n})().catch((err) => { console.error(err); process.exit(1); });")
}

// A pack that keeps long names and nothing in them fills its storage as one that keeps files.
func TestNamesCountTowardTabStorage(t *testing.T) {
	t.Parallel()
	for _, make := range []string{"'write', name(i), new Uint8Array(), false", "'mkdir', name(i), false", "'mkdir', name(i) + '/x', true"} {
		runFiles(t, `
const MiB = 1 << 20, f = storage(MiB), name = (i) => '/' + String(i).padEnd(10_000, 'x');
let made = 0, full = '';
for (let i = 0; i < 10_000 && !full; i++, made++) full = await told(f, `+make+`);
assert.strictEqual(full, 'ENOSPC');
assert(kept(f) <= MiB && kept(f) > MiB - 50_000, made + ' names of ' + kept(f) + ' bytes');
assert.strictEqual(f.used, kept(f));
`)
	}
}

// What goes makes room, and a name that gets longer takes some.
func TestRoomOfNamesInTabStorage(t *testing.T) {
	t.Parallel()
	runFiles(t, `
const f = storage(1000), long = '/' + 'x'.repeat(299);
assert.strictEqual(await told(f, 'mkdir', '/a', false), '');
assert.strictEqual(await told(f, 'write', '/a/b', new Uint8Array(300), false), '');
assert.strictEqual(await told(f, 'rename', '/a', long), 'ENOSPC'); // 2 * (300 + 302) + 300
assert.deepStrictEqual([...f.nodes.keys()], ['/', '/a', '/a/b']);
assert.strictEqual(await told(f, 'write', '/over', new Uint8Array(600), false), '');
assert.strictEqual(await told(f, 'write', '/more', new Uint8Array(80), false), 'ENOSPC');
assert.strictEqual(await told(f, 'write', '/a/b', new Uint8Array(300), false), '');
assert.strictEqual(await told(f, 'rename', '/a/b', '/over'), '');
assert.strictEqual(await told(f, 'write', '/more', new Uint8Array(600), false), '');
assert.strictEqual(f.used, kept(f));
assert.strictEqual(await told(f, 'rmdir', '/a', true), '');
for (const name of ['/over', '/more']) assert.strictEqual(await told(f, 'unlink', name), '');
assert.strictEqual(f.used, 0);
assert.strictEqual(await told(f, 'write', '/a', new Uint8Array(996), false), '');
assert.strictEqual(await told(f, 'write', '/b', new Uint8Array(), false), 'ENOSPC');
`)
	runFiles(t, `
let seed = 7;
const pick = (n) => (seed = seed * 48271 % 2147483647) % n;
const names = ['/a', '/bb', '/ccc'], path = () => Array.from({ length: 1 + pick(3) }, () => names[pick(3)]).join('');
const f = storage(400), codes = new Set();
for (let i = 0; i < 20_000; i++) {
  const [op, ...args] = [
    ['write', path(), new Uint8Array(pick(60)), pick(2) === 0], ['mkdir', path(), pick(2) === 0], ['rmdir', path(), pick(2) === 0],
    ['unlink', path()], ['rename', path(), path()], ['copy', path(), path()],
  ][pick(6)];
  codes.add(await told(f, op, ...args));
  assert(f.used === kept(f) && f.used <= 400, i + ': ' + op + ' ' + args + ': ' + f.used + ' of ' + kept(f));
}
for (const code of ['', 'ENOSPC', 'ENOTEMPTY', 'ENOENT']) assert(codes.has(code), [...codes].join());
`)
}

func TestPathsOfTabStorage(t *testing.T) {
	t.Parallel()
	runNode(t, source(t, "files.js")+pathTest)
}
