//go:build unix

package nodejs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/shared/api"
)

// A storage with a limit is full of names as of contents, and what goes makes room. A tab
// does the same by a script of its own: its test is TestRoomOfNamesInTabStorage.
func TestNamesCountTowardAStorageLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	const source = `module.exports = async ({ storage }) => {
		const tell = async (what, f) => console.log(what + ': ' + await f().then((v) => v ?? 'ok', (err) => err.code));
		const MiB = 2 ** 20, name = (c) => '/' + c.padEnd(249, 'n'); // 500 bytes at the top
		const deep = name('d').repeat(7); // 250 characters more each: 500, 1000, up to 3500 bytes
		await tell('deep', () => storage.mkdir(deep));
		let i = 0;
		await tell('folders', async () => { for (;; i++) await storage.mkdir(deep + name(String(i))); }); // 4000 bytes each
		console.log('made ' + i);
		await tell('the rest', () => storage.writeFile('/f', new Uint8Array(MiB - 14_000 - 4000 * i - 4 - 8)));
		await tell('again', () => storage.mkdir(deep));
		await tell('a file', () => storage.writeFile(name('f'), ''));
		await tell('longer', () => storage.rename('/f', '/' + 'f'.repeat(6)));
		await tell('a little longer', () => storage.rename('/f', '/' + 'f'.repeat(5)));
		await tell('shorter', () => storage.rename(name('d'), '/a'));
		await tell('in it', () => storage.mkdir('/a/b/c'));
		await tell('longer inside', () => storage.rename('/a', name('d') + 'n'));
		await storage.rmdir('/a', true);
		await storage.unlink('/fffff');
		await tell('all', () => storage.writeFile('/a', new Uint8Array(MiB - 4)));
		await tell('one more', () => storage.writeFile('/b', ''));
		await tell('a copy', () => storage.copyFile('/a', '/b'));
		await tell('over itself', () => storage.writeFile('/a', new Uint8Array(MiB - 4)));
		await tell('left', () => storage.readdir('/').then(String));
	}`
	c, lines, err := r.launch(t, source, func(t *executor.Task) { t.Spec.Limits.Storage = 1 })
	if err != nil && !errors.Is(err, executor.ErrEnded) {
		t.Fatal(err)
	}
	if got := end(t, c); got.Reason != api.ReasonCompleted {
		t.Fatalf("ended with %+v", got)
	}
	const want = `deep: ok
folders: ENOSPC
made 258
the rest: ok
again: ok
a file: ENOSPC
longer: ENOSPC
a little longer: ok
shorter: ok
in it: ok
longer inside: ENOSPC
all: ok
one more: ENOSPC
a copy: ENOSPC
over itself: ok
left: a`
	if got := strings.TrimSpace(lines.Text()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
