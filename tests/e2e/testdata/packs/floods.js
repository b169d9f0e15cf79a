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
  const [message, most] = {
    NUMBERS: () => [7, 10_000],
    LINES: () => [{ t: 'out', lines: Array(4096).fill(lines()[0]) }, 20],
    COPIES: () => [{ t: 'out', lines: lines() }, 50], // 4 MB each, and slower to hear than they are allowed again by time
    UNKNOWN: () => [{ t: 'unknown', lines: lines() }, 50],
  }[env.FLOOD]();
  for (;;) {
    for (let i = 0; i < most; i++) port.postMessage(message);
    await new Promise((next) => setTimeout(next));
  }
};
