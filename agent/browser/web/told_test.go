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
let at = 0;
const account = () => new Account(() => at);

{ // A ticket counts once, and only where it was given.
  const a = account(), b = account(), t = a.ticket();
  assert.notStrictEqual(a.ticket(), t);
  assert(!b.takes(t) && !a.takes('1-2-3-4') && !a.takes(undefined));
  assert(a.takes(t) && !a.takes(t));
}
{ // Who obeys may tell for ever, and pays nothing.
  const a = account();
  let ticket = a.ticket();
  for (let i = 0; i < 1000; i++) {
    assert(a.takes(ticket));
    at += a.wait(OUT_LONGEST);
    ticket = a.ticket();
  }
  a.refill(false);
  assert(a.pays(TOLD_MOST));
}
{ // What is sent at once comes back one after the other, by its size.
  const a = account();
  assert.strictEqual(a.wait(4096 * OUT_RATE), 4096);
  assert.strictEqual(a.wait(OUT_RATE), 4097);
  at += 10_000;
  assert.strictEqual(a.wait(OUT_RATE), 1);
}
{ // A pack that never yields sends without tickets, for ever where it is heard, and where it is not.
  for (const [behind, cost] of [[false, 0], [true, TOLD_UNHEARD]]) {
    const a = account();
    for (let i = 0; i < 10_000; i++) {
      at += 250;
      a.refill(behind);
      assert(a.pays(cost + TOLD_MESSAGE + 80 * 1024), i + ' messages');
    }
  }
}
{ // Who pays more than comes back is ended, however slowly it is heard.
  for (const took of [0.01, 1, 100]) {
    const a = account();
    let n = 0;
    for (; n < 1e6; n++) {
      at += took;
      a.refill(true);
      if (!a.pays(TOLD_MESSAGE + TOLD_STRANGE)) break;
    }
    assert(n <= 2 * TOLD_MOST / TOLD_STRANGE, n + ' messages at ' + took + ' ms');
  }
}
{ // Time brings it back.
  const a = account();
  assert(a.pays(TOLD_MOST) && !a.pays(1));
  at += 60_000;
  a.refill(false);
  assert(a.pays(TOLD_MOST) && !a.pays(1));
}
`

func TestWhatAPodMayTell(t *testing.T) {
	t.Parallel()
	runNode(t, source(t, "told.js")+toldTest)
}

// packedTest takes lines apart as controller.go does, some of them such as no runtime sends.
const packedTest = `
const assert = require('node:assert');
const apart = (bytes) => {
  const lines = [], view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = 0; at < bytes.length;) {
    const end = at + LINE_HEAD + view.getUint32(at + 9, true);
    lines.push([STREAMS[view.getUint8(at)], view.getFloat64(at + 1, true), new TextDecoder().decode(bytes.subarray(at + LINE_HEAD, end))]);
    at = end;
  }
  return lines;
};
const nothing = { toString: 1, valueOf: 1 }, now = Date.now();
const all = apart(packed([['log', 1.5, 'a'], ['stderr', 2, ''], ['stdout', 3, 'ü\u{1f600}\0\n'], ['other', 4, '\ud800'], [nothing, nothing, nothing], null, ['log', 8e15, 'y'.repeat(20_000)]]));
assert.deepStrictEqual(all.slice(0, 4), [['log', 1.5, 'a'], ['stderr', 2, ''], ['stdout', 3, 'ü\u{1f600}\0\n'], ['log', 4, '\ufffd']]);
for (const [stream, time, text] of all.slice(4, 6)) assert(stream === 'log' && time >= now && text === '');
assert(all[6][1] <= Date.now() && all[6][2] === 'y'.repeat(16 * 1024 + 8));
assert.deepStrictEqual(apart(packed([])), []);
`

func TestLinesArePackedAndTakenApart(t *testing.T) {
	t.Parallel()
	runNode(t, source(t, "told.js")+packedTest)
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
