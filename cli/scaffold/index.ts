import type { PackContext } from "@stark-orchestrator/pack";

export default async function main({ pod, log, signal, ready, onStop }: PackContext) {
  log.info(`hello from ${pod.name} ${pod.version}, attempt ${pod.attempt}`);

  let count = 0;
  const timer = setInterval(() => log.info("tick", { count: ++count }), 2000);
  onStop(() => clearInterval(timer));

  ready(); // from here on the pod is `running`
  await new Promise((done) => signal.addEventListener("abort", done));
}
