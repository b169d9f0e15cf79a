package web

import "testing"

// fairWorld has packs that are not fair, and an agent that has its own to do beside them.
const fairWorld = `
const batch = (ticket, n = 1) => JSON.stringify({ ticket, lines: Array.from({ length: n }, () => ['log', 1, 'y']), dropped: 0 });

// loud sends a batch with every ticket, each of which keeps the thread for a while.
function loud(ms) {
  const x = pod(64 * MiB, (m) => { if (m.t === 'ticket') x.tell(batch(m.ticket)); });
  x.had = 0;
  x.hears = (t) => { if (t === 'lines') { takes(ms); x.had += ms; } };
  for (let i = 0; i < TICKETS; i++) { const t = x.p.account.ticket(); after(0, () => x.tell(batch(t))); }
  return x;
}

// beats has the agent do something of its own every 100 ms, and gives how late that was at most.
function beats() {
  const b = { n: 0, late: 0 };
  const next = (due) => after(due - at, () => { b.n++; b.late = Math.max(b.late, at - due); next(Math.max(at, due + 100)); });
  next(at + 100);
  return b;
}
const had = (all) => all.map((x) => x.had), sum = (all) => had(all).reduce((a, b) => a + b, 0);
`

func runTurns(t *testing.T, test string) {
	t.Helper()
	runPod(t, fairWorld+test)
}

// Output takes half of the agent's thread at most, however many tickets come at once, and
// from however many pods, which have the same of it.
func TestPodsHaveHalfOfTheThread(t *testing.T) {
	t.Parallel()
	for _, pods := range []string{"1", "8"} {
		runTurns(t, `
const all = Array.from({ length: `+pods+` }, () => loud(50)), b = beats();
for (let second = 1; second <= 20; second++) {
  const before = sum(all);
  await goOn(second * 1000);
  assert(sum(all) - before <= 500 + 50 + AHEAD_MS, 'of second ' + second + ' pods had ' + (sum(all) - before) + ' ms');
}
assert(sum(all) > 9000, 'nobody else wanted the rest of ' + sum(all) + ' ms');
assert(Math.max(...had(all)) - Math.min(...had(all)) <= 50, 'they had ' + had(all));
assert(b.n > 150 && b.late <= 50 + AHEAD_MS, b.n + ' beats, late by ' + b.late + ' ms');
assert(all.every((x) => !x.p.ended));
`)
	}
}

// A pod that seldom says something is heard beside those that never stop, whether what they
// say is long or short.
func TestAQuietPodIsHeardBesideLoudOnes(t *testing.T) {
	t.Parallel()
	for _, took := range []string{"60", "1"} {
		runTurns(t, `
const took = `+took+`, all = Array.from({ length: 7 }, () => loud(took)), quiet = pod();
const late = [];
for (let i = 0; i < 40; i++) {
  await goOn(at + 333);
  const began = at;
  quiet.said.length = 0;
  quiet.tell(batch(quiet.p.account.ticket()));
  await until('the quiet pod', () => quiet.said.length);
  late.push(quiet.said[0][2] - began);
}
assert(Math.max(...late) <= AHEAD_MS + 2 * took, 'the quiet pod was heard after ' + late);
assert(sum(all) > 0.45 * at, 'they had ' + had(all) + ' of ' + at);
`)
	}
}

// Whoever never says anything has no more of the thread later than who always does.
func TestSilenceSavesNothingUp(t *testing.T) {
	t.Parallel()
	runTurns(t, `
const first = loud(10);
await goOn(60_000);
const later = loud(10), before = first.had;
await goOn(70_000);
assert(Math.abs(first.had - before - later.had) <= 20, 'the first had ' + (first.had - before) + ' ms, the later one ' + later.had);
`)
}

// asking keeps as many questions waiting as it may, each of which is asked at no cost.
const asking = `
const asks = (op, args) => {
  const x = pod(64 * MiB, (m) => { if (m.t === 'answer') x.tell({ t: 'fs', id: 1, op, args }); });
  x.p.files.nodes.set('/big', { dir: false, size: MiB, mtime: 1, birthtime: 1 });
  after(0, () => { for (let i = 0; i < MAX_WAITING; i++) x.tell({ t: 'fs', id: 1, op, args }); });
  return x;
};
`

// Work that is done for a question after it was heard is the pod's: what the database gives
// is read, and what goes back is encoded, when it is its turn.
func TestWorkForAnswersIsThePods(t *testing.T) {
	t.Parallel()
	for _, question := range []string{`'read', ['/big']`, `'copy', ['/big', '/other']`, `'rename', ['/big', '/big']`} {
		runTurns(t, asking+`
let reads = 0, encodes = 0;
Object.defineProperty(globalThis, 'content', { get() { takes(30); reads++; return new Uint8Array(1); } });
const x = asks(`+question+`), { postMessage } = x.port, b = beats(), other = loud(10);
x.port.postMessage = (m) => { if (m.t === 'answer') { takes(10); encodes++; } postMessage(m); };
await goOn(20_000);
const worked = 30 * reads + 10 * encodes;
assert(worked + other.had <= 10_000 + 40 + AHEAD_MS, 'they had ' + (worked + other.had) + ' ms of 20000');
assert(Math.abs(worked - other.had) <= 60, 'who asks had ' + worked + ' ms, who tells ' + other.had);
assert(b.late <= 40 + AHEAD_MS, 'a beat was late by ' + b.late + ' ms');
assert(!x.p.ended && !other.p.ended);
`)
	}
}

// One question may be as dear as thousands: it waits for its turn again and again.
func TestOneDearQuestionIsDoneInTurns(t *testing.T) {
	t.Parallel()
	runTurns(t, `
let reads = 0;
Object.defineProperty(globalThis, 'content', { get() { takes(5); reads++; return new Uint8Array(1); } });
const x = pod(), b = beats();
x.p.files.nodes.set('/a', { dir: true, size: 0, mtime: 1, birthtime: 1 });
for (let i = 0; i < 2000; i++) x.p.files.nodes.set('/a/' + i, { dir: false, size: 1, mtime: 1, birthtime: 1 });
x.tell({ t: 'fs', id: 1, op: 'rename', args: ['/a', '/b'] });
await goOn(10_000);
assert(reads * 5 <= 5000 + 5 + AHEAD_MS && reads * 5 > 4500, 'it had ' + reads * 5 + ' ms of 10000');
assert(b.late <= 5 + AHEAD_MS, 'a beat was late by ' + b.late + ' ms');
await until('the answer', () => x.answers().length);
assert(!x.answers()[0].error && x.p.files.nodes.has('/b/1999'));
// Nothing more is done for a pod that has ended.
x.tell({ t: 'fs', id: 2, op: 'rename', args: ['/b', '/c'] });
await goOn(at + 1000);
const before = reads;
x.p.kill('Stopped', '');
await until('the end', () => x.said.some(([t]) => t === 'end'));
assert(before > 2000 && reads <= before + 1, reads - before + ' reads after its end');
`)
}

// However slow the thread is, and whatever others do: who keeps to the runtime is heard to
// the end, and no flood.
func TestNobodyIsAFloodBecauseTheThreadIsSlow(t *testing.T) {
	t.Parallel()
	runTurns(t, asking+`
Object.defineProperty(globalThis, 'content', { get() { takes(60); return new Uint8Array(1); } });
const all = Array.from({ length: 7 }, () => loud(500)), asker = asks('read', ['/big']);
const stuck = pod(), text = 'y'.repeat(80 * 1024); // which never yields: its runtime sends without tickets
let sent = 0, heard = 0;
stuck.hears = (t) => { if (t === 'lines') { takes(500); heard++; } };
for (let i = 0; i < 60_000; i += 250) after(i, () => { sent++; stuck.tell(JSON.stringify({ ticket: '', lines: [['log', 1, text]], dropped: 0 })); });
await goOn(60_000);
for (let i = 0; i < 64; i++) { sent++; stuck.tell(JSON.stringify({ ticket: '', lines: [['log', 1, text]], dropped: 0 })); } // what was left
stuck.tell({ t: 'outcome', outcome: { reason: 'Completed' } });
await until('the last of it', () => stuck.said.some(([t]) => t === 'end'));
assert.deepStrictEqual([sent, JSON.parse(stuck.said.at(-1)[1]).reason], [heard, 'Completed']);
assert(![...all, asker].some((x) => x.p.ended));
`)
}

// An answer that waits to be heard is not late, and one that is heard tells when it came.
func TestWhoWaitsToBeHeardIsNotSilent(t *testing.T) {
	t.Parallel()
	runTurns(t, `
const all = Array.from({ length: 7 }, () => loud(500)), x = pod();
x.hears = (t) => { if (t === 'lines') takes(500); };
await goOn(10_000);
x.p.ping();
for (let i = 0; i < TICKETS; i++) x.tell(batch(x.p.account.ticket()));
takes(7);
x.tell('pong');
await goOn(40_000);
assert(x.p.waiting && x.p.unheard.length, 'it was heard already');
assert(x.p.silence(at) <= 7 && x.p.recentDelay() <= 7, 'it is blamed for ' + x.p.silence(at) + ' ms');
await until('the answer', () => !x.p.waiting);
assert(x.p.delay <= 8, 'it is blamed for ' + x.p.delay + ' ms');
x.p.ping();
await goOn(at + 5000);
assert(x.p.silence(at) >= 5000, 'who says nothing is silent');
`)
}

// Who sends more than can be heard is ended for what waits, before much does, and others
// are heard meanwhile.
func TestAFloodIsEndedBeforeItIsHeard(t *testing.T) {
	t.Parallel()
	for _, message := range []string{`'pong'`, `7`, `batch('', 9)`, `batch('1-2-3-4')`, `{ t: 'fs', id: 1, op: 'stat', args: ['/'] }`, `{ t: 'outcom' }`} {
		runTurns(t, `
const all = Array.from({ length: 7 }, () => loud(50)), x = pod();
await goOn(5000);
let most = 0, sent = 0;
const flood = () => {
  for (let i = 0; i < 10 && !x.p.ended; i++, sent++) { takes(0.01); x.tell(`+message+`); most = Math.max(most, x.p.unheard.length); }
  if (!x.p.ended) after(0, flood);
};
flood();
await until('its end', () => x.p.ended);
assert(most <= MOST_UNHEARD + TOLD_MOST / TOLD_UNHEARD + 1 && sent < 1000, most + ' of ' + sent + ' messages waited');
assert(x.p.unheard.length === 0);
await goOn(at + 1000);
assert(x.said.some(([t, j]) => t === 'end' && j.includes('flooded')) && !all.some((x) => x.p.ended));
`)
	}
}

// What no runtime says is paid for by the time that it takes: it may be of any size, and is
// known only once it was read. So is what comes by a frame that a pack has for itself.
func TestWhatIsDearToReadIsPaidFor(t *testing.T) {
	t.Parallel()
	for _, strange := range []string{
		`{ t: 'unknown' }`, `{ t: 'fs', id: 1, op: 'stat', args: ['/'], more: [] }`, `{ t: 'fs', id: 1, op: {}, args: ['/'] }`, `{ t: 'fs', id: 1, op: 'stat', args: ['/', 1, 2, 3] }`,
	} {
		runTurns(t, `
let read = 0;
const x = pod(), b = beats(), dear = { get data() { takes(5000); read++; return `+strange+`; } };
for (let i = 0; i < 10; i++) x.port.onmessage(dear);
await until('its end', () => x.p.ended);
assert(read <= 2, read + ' were read');
assert(b.n >= read - 1, 'the agent had nothing in between');
`)
	}
	runTurns(t, `
let read = 0;
const frame = (shown) => { const x = pod(MiB, () => {}, shown); return [x, (data) => x.p.arrives({ get data() { takes(50); read++; return data; } }, x.p.hearFrame)]; };
const [mine, says] = frame(true);
for (let i = 0; i < 10; i++) says({ t: 'pong' });
assert(read === 1, 'all was read at once');
for (let i = 0; i < 100; i++) says({ t: 'pong' });
await until('its end', () => mine.p.ended);
assert(read < 50, read + ' were read');
const [other, answers] = frame(false);
for (let i = 0; i < 1000; i++) { answers({ t: 'pong' }); await goOn(at + 1000); }
assert(!other.p.ended);
answers({ t: 'error', message: 'gone' });
await until('the end of the other', () => other.said.length);
assert(other.said[0][1].includes('gone'));
`)
}

// What fails in one turn is reported, and the next one comes.
func TestATurnThatFailsIsNobodyElses(t *testing.T) {
	t.Parallel()
	runTurns(t, `
const reported = [];
globalThis.reportError = (err) => reported.push(err.message);
const lane = turns.lane();
let done = false;
turns.add(lane, () => { throw new Error('no'); });
turns.add(lane, () => { done = true; });
assert(done && reported[0] === 'no');
`)
}
