package web

import "testing"

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
let made = 0, answers = 0, most = 0;
Object.defineProperty(globalThis, 'content', { get() { made++; return new Uint8Array(32 * MiB); } });
const text = 'x'.repeat(15000);
for (let i = 0; i < TICKETS; i++) { // whose time is what the answers wait for
  const lines = Array.from({ length: 60 }, () => ['log', 1, text]);
  x.tell(JSON.stringify({ ticket: x.p.account.ticket(), lines, dropped: 0 }));
}
for (let i = 0; i < MAX_WAITING; i++) x.tell({ t: 'fs', id: i, op: 'read', args: ['/big'] });
x.port.postMessage = (m) => { if (m.t === 'answer') answers++; };
await until('the answers, or the end of the pod', () => {
  most = Math.max(most, made - answers);
  return x.p.ended || answers === MAX_WAITING;
});
assert(made > 1 && most <= 3, most + ' answers of 32 MiB wait at a time');
`)
}

// Who asks as the runtime does is answered, however often.
func TestQuestionsOfAPodAreAnswered(t *testing.T) {
	t.Parallel()
	runPod(t, `
const x = pod(8 * MiB + 100); // with the names of the files
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
  await until(JSON.stringify(strange), () => x.p.ended);
  assert(x.p.open === 0);
}
const x = pod();
for (let i = 0; i < 100 && !x.p.ended; i++) x.port.onmessageerror({ data: null });
await until('the end of who sends what cannot be read', () => x.p.ended);
`)
	runPod(t, `
const x = pod(); // whose answers cannot be sent
x.port.postMessage = (m) => { if (!m.error) throw new Error('too large'); x.sent.push(m); };
x.tell({ t: 'fs', id: 7, op: 'stat', args: ['/'] });
await until('the answer', () => x.answers().length === 1 && x.p.open === 0);
assert(x.answers()[0].error.code === 'EIO' && x.answers()[0].id === 7);
`)
}
