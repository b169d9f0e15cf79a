// The built-in pack of `stark dev`: it says hello, then now and then that it lives.
module.exports = async function hello({ pod, log, signal, ready, onStop }) {
  log.info(`hello from ${pod.name} ${pod.version} on ${pod.runtime}, attempt ${pod.attempt}`);

  const started = Date.now();
  const timer = setInterval(() => {
    log.info(`still here after ${Math.round((Date.now() - started) / 1000)} s`);
  }, 10_000);
  onStop(() => clearInterval(timer));

  ready();
  await new Promise((done) => signal.addEventListener("abort", done));
  log.info("goodbye");
};
