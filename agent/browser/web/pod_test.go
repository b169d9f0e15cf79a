package web

import (
	"strings"
	"testing"
)

// podWorld is what class Pod of agent.js needs around it: no page and no database, of which
// a file gives a new copy of its content each time, and a thread with a clock of its own. On
// it nothing takes time but what a test says, by takes().
const podWorld = `
const assert = require('node:assert');
const tasks = [], settled = () => new Promise((done) => setImmediate(done));
let at = 0, tasked = 0;
const performance = { now: () => at };
const after = (ms, f) => { tasks.push({ f, due: at + ms, n: tasked++ }); };
const setTimeout = (f, ms = 0) => after(Math.max(1, ms), f);
const takes = (ms) => { at += ms; };
globalThis.reportError = (err) => { console.error(err); process.exit(1); };

// task does what is due first, once its time has come, if that is not after a time.
async function task(until = Infinity) {
  await settled();
  tasks.sort((a, b) => a.due - b.due || a.n - b.n);
  if (!tasks.length || tasks[0].due > until) return false;
  const { f, due } = tasks.shift();
  at = Math.max(at, due);
  f();
  return true;
}
async function goOn(until) {
  while (await task(until));
  at = Math.max(at, until);
}
async function until(what, holds) {
  for (const late = at + 3_600_000; !holds();) {
    if (at > late || !await task()) { assert(holds(), what); return; }
  }
}

const running = new Map(), PING_MS = 1000, FRAME_LOST_MS = 15000, UNBORN_MS = 500;
const frames = new Map(), dropped = [];
let spare = null, nextFrame = 0;
const transaction = async () => ({ get result() { return globalThis.content; } });
const request = async (...args) => (await transaction(...args)).result;
const MiB = 1 << 20;

// pod makes one. Its fake pack is told what the agent posts, a moment later.
function pod(storage = 64 * MiB, pack = () => {}, shown = false) {
  const sent = [], said = [];
  const port = {
    postMessage(m) { structuredClone(m); sent.push(m); after(0, () => pack(m, x)); },
    close() { port.onmessage = port.onmessageerror = () => {}; },
  };
  const x = { port, sent, said, hears: () => {}, tell: (data) => port.onmessage({ data }), answers: () => sent.filter((m) => m.t === 'answer') };
  x.p = new Pod({ id: 'p' + running.size, unresponsiveMs: 60000, storageBytes: storage }, { dead: true, shown, port: { postMessage() {} } }, port, (t, j) => { said.push([t, j, at]); x.hears(t, j); });
  return x;
}
`

// runPod runs a test of pods in Node.js.
func runPod(t *testing.T, test string) {
	t.Helper()
	agent := source(t, "agent.js")
	_, rest, found := strings.Cut(agent, "class Pod {")
	class, _, ended := strings.Cut(rest, "setInterval(() => {")
	if !found || !ended {
		t.Fatal("agent.js has no class Pod where it was")
	}
	runNode(t, podWorld+source(t, "told.js")+source(t, "files.js")+source(t, "turns.js")+
		"const turns = new Turns(() => at, setTimeout);"+"class Pod {"+class+
		"(async () => {"+test+"\nprocess.exit(0); })().catch((err) => { console.error(err); process.exit(1); });")
}
