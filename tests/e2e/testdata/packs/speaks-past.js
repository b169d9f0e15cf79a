// Gets hold of the port to the agent, and says there in a tab what no adapter says.
const { get } = Object.getOwnPropertyDescriptor(MessageEvent.prototype, 'data');
let port;
const found = new Promise((resolve) => {
  Object.defineProperty(MessageEvent.prototype, 'data', {
    get() {
      if (this.target instanceof MessagePort) resolve(port = this.target);
      return get.call(this);
    },
  });
});

module.exports = async ({ log, ready, signal, storage }) => {
  await found; // at the next question whether it lives
  const nothing = { toString: 1, valueOf: 1 }; // cannot be made a text, nor a number
  for (const m of [
    null, 7, 'text', [], {}, { t: nothing },
    '{', '{}', '{"lines":7,"dropped":{},"ticket":[]}', '{"lines":[null,7,{},[{},{},{}]],"dropped":"1"}', { t: 'out', lines: nothing },
    '{"lines":[["log",1e300,"of no time"],["log",-1e300,"of no time"],["log",null,"of no time"],["log",8e15,"of no time"]],"dropped":1e300}',
    ...['read', 'write', 'mkdir', 'list', 'rmdir', 'stat', 'unlink', 'rename', 'copy', 'constructor', '__proto__', 'valueOf', nothing].flatMap((op) => [
      undefined, [], [nothing], ['/', true], ['/', '/'], ['//', true], ['/a/..', true], ['/./a', true], ['/a/', true], ['a', true], ['/a', nothing], ['/', '/a'],
    ].map((args) => ({ t: 'fs', id: -1, op, args }))),
  ]) {
    port.postMessage(m);
    if (m?.op) await storage.exists('/'); // more of them at once would be a flood
  }
  await storage.mkdir('/a/b');
  log.info(`the root is there: ${await storage.exists('/')}, a name is not: ${await storage.exists('/none/of/these')}`);
  ready();
  await new Promise((done) => signal.addEventListener('abort', done));
  port.postMessage({ t: 'outcome', outcome: { reason: nothing, message: nothing, code: 1e300 } });
};
