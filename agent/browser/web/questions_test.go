package web

import (
	"strings"
	"testing"
)

// podWorld is what class Pod of agent.js needs around it: no frame, no page and no database,
// of which a file gives a new copy of its content each time.
const podWorld = `
const assert = require('node:assert');
const running = new Map(), PING_MS = 1000, FRAME_LOST_MS = 15000, UNBORN_MS = 500;
let worked = 0, working = false;
function drop() {}
const request = async () => globalThis.content;
function pod(storage = 64 << 20) {
  const sent = [], said = [];
  const port = { postMessage: (m) => { structuredClone(m); sent.push(m); }, close() {} };
  const p = new Pod({ id: 'p', unresponsiveMs: 60000, storageBytes: storage }, { port: { postMessage() {} } }, port, (t, j) => said.push([t, j]));
  return { p, port, sent, said, tell: (data) => port.onmessage({ data }), answers: () => sent.filter((m) => m.t === 'answer') };
}
const turn = () => new Promise((r) => setTimeout(r, 1));
const until = async (what, holds) => { for (let i = 0; !holds(); i++) { assert(i < 10_000, what); await turn(); } };
const MiB = 1 << 20;
`

// runPod runs a test of one pod in Node.js.
func runPod(t *testing.T, test string) {
	t.Helper()
	agent := source(t, "agent.js")
	cut := func(from, to string) string {
		_, rest, found := strings.Cut(agent, from)
		part, _, ended := strings.Cut(rest, to)
		if !found || !ended {
			t.Fatalf("agent.js has nothing from %q to %q", from, to)
		}
		return from + part
	}
	runNode(t, source(t, "told.js")+source(t, "files.js")+podWorld+
		cut("function work(f)", "// time is that of")+cut("function time()", "// ---- IndexedDB")+cut("class Pod {", "setInterval(() => {")+
		"(async () => {"+test+"\nprocess.exit(0); })().catch((err) => { console.error(err); process.exit(1); });")
}

// What comes with questions and goes back with answers is memory of the agent meanwhile: as
// much as the pod may keep is free, and more is paid for.
func TestQuestionsOfAPodHoldLittle(t *testing.T) {
	t.Parallel()
	runPod(t, `
const limit = 8 * MiB, x = pod(limit);
const before = process.memoryUsage().arrayBuffers;
for (let i = 0; i < MAX_WAITING; i++) x.tell({ t: 'fs', id: i, op: 'write', args: ['/a' + i, new Uint8Array(16 * MiB).subarray(0, 1), false] });
const held = (process.memoryUsage().arrayBuffers - before) / MiB;
assert(x.p.ended && held < 160, 'the agent holds ' + held + ' MiB for a pod that may keep 8');
`)
	runPod(t, `
const x = pod();
x.p.files.nodes.set('/big', { dir: false, size: 32 * MiB, mtime: 1, birthtime: 1 });
Object.defineProperty(globalThis, 'content', { get: () => new Uint8Array(32 * MiB) });
const text = 'x'.repeat(15000);
for (let i = 0; i < TICKETS; i++) { // whose time is what the answers wait for
  const lines = Array.from({ length: 60 }, () => ['log', 1, text]);
  x.tell(JSON.stringify({ ticket: x.p.account.ticket(), lines, dropped: 0 }));
}
for (let i = 0; i < MAX_WAITING; i++) x.tell({ t: 'fs', id: i, op: 'read', args: ['/big'] });
await until('the pod to be ended', () => x.p.ended);
for (let i = 0; i < 200; i++) await turn();
gc();
const held = process.memoryUsage().arrayBuffers / MiB;
assert(held < 256, 'answers that wait hold ' + held + ' MiB');
`)
}

// Who asks as the runtime does is answered, however often.
func TestQuestionsOfAPodAreAnswered(t *testing.T) {
	t.Parallel()
	runPod(t, `
const x = pod(8 * MiB);
globalThis.content = new Uint8Array(MiB);
for (let round = 0; round < 20; round++) {
  const before = x.answers().length;
  for (let i = 0; i < 8; i++) x.tell({ t: 'fs', id: i, op: 'write', args: ['/a' + i, new Uint8Array(MiB), false] });
  await until('writes', () => x.answers().length === before + 8);
  for (let i = 0; i < 8; i++) x.tell({ t: 'fs', id: i, op: 'read', args: ['/a' + i] });
  await until('reads', () => x.answers().length === before + 16);
}
assert(x.answers().every((m) => !m.error) && !x.p.ended && x.p.open === 0 && x.p.held === 0, JSON.stringify(x.answers().find((m) => m.error)));
x.p.account.refill();
assert(x.p.account.pays(TOLD_MOST - MiB), 'it was paid for');
`)
}

// What no runtime asks is paid for, and leaves nothing behind.
func TestStrangeQuestionsOfAPodArePaidFor(t *testing.T) {
	t.Parallel()
	runPod(t, `
for (const strange of [
  { id: {}, op: 'stat', args: ['/'] }, { id: 1, op: 'stat' }, { id: 1, op: 'stat', args: 'no' }, { op: 'stat', args: ['/'] },
  { id: 1, op: 'write', args: ['/a', { length: 1e9 }] }, { id: 1, op: 'write', args: ['/a', [new Uint8Array(1)]] }, { id: 1, op: 'write', args: [new ArrayBuffer(9)] },
]) {
  const x = pod();
  for (let i = 0; i < 100 && !x.p.ended; i++) x.tell({ t: 'fs', ...strange });
  assert(x.p.ended && x.p.open === 0, JSON.stringify(strange));
}
const x = pod();
for (let i = 0; i < 100 && !x.p.ended; i++) x.port.onmessageerror({});
assert(x.p.ended, 'what cannot be read is not paid for');
`)
	runPod(t, `
const x = pod(); // whose answers cannot be sent
x.port.postMessage = (m) => { if (!m.error) throw new Error('too large'); x.sent.push(m); };
x.tell({ t: 'fs', id: 7, op: 'stat', args: ['/'] });
await until('the answer', () => x.answers().length === 1 && x.p.open === 0);
assert(x.answers()[0].error.code === 'EIO' && x.answers()[0].id === 7);
`)
}
