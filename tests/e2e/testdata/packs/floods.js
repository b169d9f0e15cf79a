// Gets hold of the port to the agent, and floods it in a tab past the runtime that would not.
const { get } = Object.getOwnPropertyDescriptor(MessageEvent.prototype, 'data');
const found = new Promise((resolve) => {
  Object.defineProperty(MessageEvent.prototype, 'data', {
    get() {
      if (this.target instanceof MessagePort) resolve(this.target);
      return get.call(this);
    },
  });
});

module.exports = async ({ ready, env }) => {
  ready();
  const port = await found;
  const lines = () => Array.from({ length: 4096 }, () => ['log', 1, 'y'.repeat(1000)]);
  const out = (length, ticket) => JSON.stringify({ ticket, lines: Array.from({ length }, () => ['log', 1, 'y'.repeat(1000)]) });
  if (env.FLOOD === 'TICKETS') return obeys(port, out, 50);
  if (env.FLOOD === 'FOREVER') return obeys(port, out, Infinity);
  const [message, most] = {
    NUMBERS: () => [7, 10_000],
    LINES: () => [out(1000), 50],
    COPIES: () => [{ t: 'out', lines: lines() }, 50], // 4 MB each, and slower to hear than they are allowed again by time
    UNKNOWN: () => [{ t: 'unknown', lines: lines() }, 50],
    PONGS: () => ['pong', 10_000],
    FORGED: () => [out(1000, '1-2-3-4'), 50],
    QUESTIONS: () => [{ t: 'fs', id: -1, op: 'exists', args: ['/'] }, 10_000],
  }[env.FLOOD]();
  for (;;) {
    for (let i = 0; i < most; i++) port.postMessage(message);
    await new Promise((next) => setTimeout(next));
  }
};

// obeys sends as much as it may with each ticket that it is given, so often.
async function obeys(port, out, most) {
  const hear = port.onmessage;
  let sent = 0;
  await new Promise((done) => {
    port.onmessage = (e) => {
      const m = get.call(e);
      if (m.t !== 'ticket') return hear(e);
      port.postMessage(out(1000, m.ticket));
      if (++sent === most) done();
    };
    // The runtime had the first ones: what is printed has them come here.
    for (let i = 0; i < 16; i++) console.log('x'.repeat(65_000));
  });
}
