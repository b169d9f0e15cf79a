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
  const message = env.LINES ? { t: 'out', lines: Array(4096).fill(['log', 1, 'y'.repeat(1000)]) } : 7;
  const most = env.LINES ? 20 : 10_000;
  for (;;) {
    for (let i = 0; i < most; i++) port.postMessage(message);
    await new Promise((next) => setTimeout(next));
  }
};
