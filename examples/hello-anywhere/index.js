// The same on a host and in a tab: what it needs comes with the context, so there is no
// import that one of both lacks. `stark pack bundle` finds out that it is universal.
export default async function hello({ pod, env, log, storage, http, workers, signal, ready }) {
  log.info(`hello ${env.NAME ?? "world"}, from ${pod.runtime === "browser" ? "a browser tab" : "a host"}`);

  // Files of this pod's own: a folder on a host, IndexedDB in a tab.
  await storage.mkdir("/notes");
  await storage.writeFile("/notes/hello.txt", `Hello, ${env.NAME ?? "world"}`);
  await storage.appendFile("/notes/hello.txt", "!");
  log.info(`kept: ${await storage.readFile("/notes/hello.txt")}`);

  // A function in another thread. It sees nothing of what stands around it here.
  const primes = await workers.exec(countPrimes, [50_000]);
  log.info(`primes below 50000: ${primes}`);

  // fetch with a time limit and retries.
  if (env.FETCH) {
    const answer = await http.get(env.FETCH, { timeout: 5000, retries: 3, responseType: "text" });
    log.info(`fetched: ${answer.status}, ${answer.data.length} characters`);
  }

  ready();
  if (!signal.aborted) await new Promise((done) => signal.addEventListener("abort", done));
  log.info("goodbye");
}

function countPrimes(limit) {
  const composite = new Uint8Array(limit);
  let n = 0;
  for (let i = 2; i < limit; i++) {
    if (composite[i]) continue;
    n++;
    for (let j = i * i; j < limit; j += i) composite[j] = 1;
  }
  return n;
}
