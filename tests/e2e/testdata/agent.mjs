// An agent of another make: it speaks the protocol of docs/protocol.md by nothing but
// what stands there, and simulates its pods. Node.js 20 needs --experimental-websocket.
//
// usage: node --experimental-websocket agent.mjs <name>
// env: STARK_URL, STARK_JOIN_TOKEN
const name = process.argv[2];
const url = process.env.STARK_URL.replace(/^http/, "ws") + "/ws";
let credential = ""; // a real agent keeps it on its disk
let heartbeat; // the timer of the connection that there is
const runs = new Map(); // by pod and incarnation: what runs here, {key, status, report}
const unacknowledged = new Map(); // the newest report of each run
let stopping = false;

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const refOf = (a) => `${a.podId}/${a.incarnation}`;

class Connection {
  next = 0;
  asked = new Map();
  seq = 0;
  synced = false;
  parts = [];

  constructor(token) {
    const bearer = Buffer.from(token).toString("base64url");
    this.socket = new WebSocket(url, ["stark.v1", "stark.bearer." + bearer]);
    this.closed = new Promise((done) => {
      this.socket.onclose = (e) => {
        for (const { no } of this.asked.values()) no(new Error("closed"));
        done(e);
      };
      this.socket.onerror = () => {};
    });
    this.greeted = new Promise((done) => (this.greet = done));
    this.socket.onmessage = (e) => this.take(JSON.parse(e.data));
  }

  send(type, payload, correlationId) {
    this.socket.send(JSON.stringify({ type, payload, correlationId }));
  }

  ask(type, payload) {
    const id = `j${++this.next}`;
    const answer = new Promise((yes, no) => this.asked.set(id, { yes, no }));
    this.send(type, payload, id);
    return answer;
  }

  take(frame) {
    const question = this.asked.get(frame.correlationId);
    if (question) {
      this.asked.delete(frame.correlationId);
      if (frame.type.endsWith(":error")) question.no(Object.assign(new Error(frame.payload.message), frame.payload));
      else question.yes(frame.payload);
      return;
    }
    if (frame.type === "connected") this.greet(frame.payload);
    else if (frame.type === "ping") this.send("pong", {});
    else if (frame.type === "runs:set") this.set(frame);
    else if (frame.type === "runs:delta") this.delta(frame);
    else if (frame.type === "logs:open") this.send("logs:end", { streamId: frame.payload.streamId, code: "NOT_FOUND", message: "simulated pods say nothing" });
  }

  set({ seq, payload }) {
    if (!payload.part) this.parts = [];
    this.parts.push(...payload.runs);
    if (payload.more) return;
    this.seq = seq;
    this.synced = true;
    const wanted = new Set(this.parts.map(refOf));
    for (const ref of runs.keys()) if (!wanted.has(ref)) end(this, ref, "Stopped", false);
    this.parts.forEach((a) => want(this, a));
    this.send("runs:ack", { seq });
  }

  delta({ seq, payload }) {
    if (!this.synced) return;
    if (payload.prev !== this.seq) {
      this.synced = false;
      this.send("runs:resync", {});
      return;
    }
    this.seq = seq;
    (payload.put ?? []).forEach((a) => want(this, a));
    (payload.remove ?? []).forEach((ref) => end(this, refOf(ref), "Stopped", false));
    this.send("runs:ack", { seq });
  }
}

// want works towards one assignment.
function want(connection, a) {
  const ref = refOf(a);
  const run = runs.get(ref);
  if (a.desire === "stop") {
    if (run) end(connection, ref, a.stopReason || "Stopped", true);
    else ended(connection, { podId: a.podId, incarnation: a.incarnation, attempt: Math.max(a.lastAttempt, 1) }, a.stopReason || "Stopped", true);
    return;
  }
  if (run) return;
  const key = { podId: a.podId, incarnation: a.incarnation, attempt: a.lastAttempt + 1 };
  runs.set(ref, { key, status: "starting" });
  report(connection, { ...key, status: "starting", at: new Date().toISOString() });
  setTimeout(() => {
    const now = runs.get(ref);
    if (!now) return;
    now.status = "running";
    report(connection, { ...key, status: "running", ready: true, at: new Date().toISOString() });
    say({ running: a.podId });
  }, 20);
}

function end(connection, ref, reason, final) {
  const run = runs.get(ref);
  if (!run) return;
  runs.delete(ref);
  ended(connection, run.key, reason, final);
}

function ended(connection, key, reason, final) {
  const at = new Date().toISOString();
  report(connection, { ...key, status: "exited", reason, final, at, termination: { reason, attempt: key.attempt, finishedAt: at } });
}

// report keeps the newest report of a run until the server has answered for it.
async function report(connection, r) {
  const key = `${r.podId}/${r.incarnation}/${r.attempt}`;
  unacknowledged.set(key, r);
  try {
    await connection.ask("run:report", { reports: [r] }); // accepted and refused ones are done with alike
    if (unacknowledged.get(key) === r) unacknowledged.delete(key);
  } catch (e) {
    say({ unreported: e.message });
    if (unacknowledged.get(key) !== r || !e.code) return; // newer news, or a lost connection
    if (e.code === "VALIDATION_ERROR") unacknowledged.delete(key);
    else setTimeout(() => unacknowledged.get(key) === r && report(connection, r), (e.retryAfter || 1) * 1000);
  }
}

async function serve(token) {
  const c = new Connection(token);
  const first = await Promise.race([c.greeted, c.closed.then(() => null)]);
  if (!first) throw new Error("no greeting");
  if (first.requiresAuth) throw new Error("the token is refused");
  const registered = await c.ask("node:register", {
    name, runtimeType: "node", capabilities: { version: "other" },
    allocatable: { cpu: 1000, memory: 1024, storage: 1024, pods: 10 },
    runs: [...runs.values()].map((r) => ({ ...r.key, status: r.status })),
  });
  if (registered.credential) credential = registered.credential;
  away = 100;
  say({ registered: registered.node.id, credential: Boolean(registered.credential) });
  for (const r of unacknowledged.values()) report(c, r);
  const beat = async () => {
    const ack = await c.ask("node:heartbeat", { nodeId: registered.node.id, timestamp: new Date().toISOString(), activePods: runs.size }).catch(() => null);
    if (!ack) return;
    say({ beat: true });
    clearTimeout(heartbeat);
    heartbeat = setTimeout(beat, ack.heartbeatIntervalMs || registered.heartbeatIntervalMs);
  };
  beat();
  leave = async () => {
    for (const ref of [...runs.keys()]) end(c, ref, "AgentRestarted", false);
    await c.ask("node:unregister", {});
    c.socket.close(1000);
  };
  reconnect = () => c.socket.close(1000);
  await c.closed;
  clearTimeout(heartbeat);
}

let away = 100; // milliseconds before the next connection, doubled until one has registered
let leave = async () => {};
let reconnect = () => {};
process.on("SIGTERM", () => {
  stopping = true;
  leave().catch(() => process.exit(1));
});
process.on("SIGUSR2", () => reconnect());

while (!stopping) {
  let turn = 0; // when a server that is full takes this node in
  try {
    await serve(credential || process.env.STARK_JOIN_TOKEN);
  } catch (e) {
    say({ error: e.message });
    if (e.details?.turn) turn = (e.retryAfter + Math.random()) * 1000;
  }
  if (!stopping) await new Promise((done) => setTimeout(done, turn || away * (0.5 + Math.random() / 2)));
  if (!turn) away = Math.min(2 * away, 30_000);
}
process.exit(0);
