// Ready at once, one line a tick, leaves when asked.
exports.default = async ({ pod, log, signal, ready, onStop }) => {
  log.info(`steady ${pod.version} attempt ${pod.attempt}`);
  const timer = setInterval(() => console.log("tick"), 200);
  onStop(() => clearInterval(timer));
  ready();
  await new Promise((done) => signal.addEventListener("abort", done));
};
