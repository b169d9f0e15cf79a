package web

import (
	"os/exec"
	"strings"
	"testing"
)

// toldTest tries the account of a pod with a clock of its own, since how fast a device is
// must not decide who is ended.
const toldTest = `
const assert = require('node:assert');
let at = 0, idle = 0;
const account = () => new Account(() => ({ at, idle }));
const passes = (ms, idly) => { at += ms; idle += idly; };

{ // A ticket counts once, and only where it was given.
  const a = account(), b = account(), t = a.ticket();
  assert.notStrictEqual(a.ticket(), t);
  assert(!b.takes(t) && !a.takes('1-2-3-4') && !a.takes(undefined));
  assert(a.takes(t) && !a.takes(t));
}
{ // Who obeys may tell for ever on a thread that takes a second for each batch, and pays nothing.
  const a = account();
  let ticket = a.ticket();
  for (let i = 0; i < 1000; i++) {
    passes(1000, 0);
    assert(a.takes(ticket));
    const wait = a.wait(1000, OUT_LONGEST);
    assert(wait >= 1000, 'half of the thread at most');
    passes(wait, 0);
    ticket = a.ticket();
  }
  a.refill();
  assert(a.pays(TOLD_MOST));
}
{ // What is sent at once comes back one after the other, by size and by time.
  const a = account();
  assert.strictEqual(a.wait(1, 4096 * OUT_RATE), 4096);
  assert.strictEqual(a.wait(10_000, 0), 4096 + TOLD_LONGEST);
  passes(10_000, 0);
  assert.strictEqual(a.wait(0.5, 0), 0.5);
  for (let i = 0; i < 1000; i++) a.wait(0, 0);
  assert(a.wait(0, 0) > 100, 'what the clock does not see is not free');
}
{ // A pack that never yields sends without tickets for a minute on a thread that has no time.
  const a = account();
  for (let i = 0; i < 240; i++) {
    passes(250, 0);
    a.refill();
    assert(a.pays(TOLD_MESSAGE + 80 * 1024) && a.paysTime(40));
  }
}
{ // Who pays more than is heard is ended, however fast the thread is.
  for (const took of [0.01, 1, 100]) {
    const a = account();
    let n = 0;
    for (; n < 1e6; n++) {
      passes(took, 0);
      a.refill();
      if (!a.pays(TOLD_MESSAGE + TOLD_STRANGE) || !a.paysTime(took)) break;
    }
    assert(n <= TOLD_MOST / TOLD_STRANGE, n + ' messages at ' + took + ' ms');
  }
}
{ // Time brings it back where the thread has some.
  const a = account();
  assert(a.pays(TOLD_MOST) && !a.pays(1));
  passes(60_000, 60_000);
  a.refill();
  assert(a.pays(TOLD_MOST) && !a.pays(1));
}
`

func TestWhatAPodMayTell(t *testing.T) {
	t.Parallel()
	runNode(t, source(t, "told.js")+toldTest)
}

// source reads a script of the page.
func source(t *testing.T, name string) string {
	t.Helper()
	text, err := Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// runNode runs a script in Node.js.
func runNode(t *testing.T, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "--expose-gc", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
