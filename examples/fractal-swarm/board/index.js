import { createServer } from "node:http";

import { Job } from "./job.js";
import { page } from "./page.js";

const MAX_BODY = 1 << 20, MAX_VIEWERS = 100;
const WHOLE = { x: -2.2, y: -1.2, width: 3.6 };

// The board hands tiles out, takes them back, and shows the picture to whoever opens its
// page. Workers in tabs come from the origin "null", so it lets every origin ask.
export default async function board({ env, log, signal, ready }) {
  const number = (name, fallback) => (Number.isInteger(Number(env[name])) && Number(env[name]) > 0 ? Number(env[name]) : fallback);
  const shape = { width: number("WIDTH", 960), height: number("HEIGHT", 640), size: number("TILE", 64), iterations: number("ITERATIONS", 2000), leaseMs: number("LEASE_MS", 5000) };
  const viewers = new Set();
  const tell = (event) => { for (const v of viewers) send(v, event); };
  const start = ({ x, y, width }) => new Job({ ...shape, view: { x, y, step: width / shape.width }, tell });
  let job = start(WHOLE);

  const routes = {
    "GET /": (_, response) => response.writeHead(200, { "content-type": "text/html; charset=utf-8", "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'" }).end(page),
    "GET /state": (_, response) => json(response, 200, job.state()),
    "GET /events"(request, response) {
      if (viewers.size >= MAX_VIEWERS) return json(response, 503, { error: "too many viewers" });
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      viewers.add(response);
      response.on("close", () => viewers.delete(response));
      send(response, { t: "start", ...job.state() });
      for (const tile of job.done.keys()) send(response, job.shown(tile));
    },
    async "POST /work"(request, response) {
      const { worker, node, runtime } = JSON.parse(await body(request));
      if (![worker, node, runtime].every((v) => typeof v === "string" && v.length <= 64)) return json(response, 400, { error: "say worker, node and runtime" });
      json(response, 200, job.next({ worker, node, runtime }) ?? { retryMs: 500 });
    },
    async "POST /results/"(request, response, lease) {
      json(response, job.bring(lease, await body(request)) ? 200 : 410, {}); // 410: it was taken back, or the picture is another
    },
    "DELETE /leases/"(_, response, lease) { job.back(lease); json(response, 200, {}); },
    async "POST /zoom"(request, response) {
      const { x, y, width } = JSON.parse(await body(request));
      if (![x, y, width].every(Number.isFinite) || width < 1e-12 || width > 10) return json(response, 400, { error: "say x, y and width" });
      job.end();
      job = start({ x, y, width });
      tell({ t: "start", ...job.state() });
      json(response, 200, { id: job.id });
    },
  };

  const server = createServer((request, response) => {
    const [, first = "", ...rest] = new URL(request.url, "http://board").pathname.split("/");
    const route = routes[`${request.method} /${first}${rest.length ? "/" : ""}`];
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-allow-headers", "content-type");
    response.setHeader("access-control-allow-methods", "GET, POST, DELETE");
    response.setHeader("access-control-max-age", "600");
    if (request.method === "OPTIONS") return response.writeHead(204).end();
    if (!route) return json(response, 404, { error: "there is nothing here" });
    (async () => route(request, response, rest.join("/")))().catch((err) => json(response, 400, { error: err.message }));
  });
  await new Promise((listening, failed) => server.once("error", failed).listen(number("PORT", 8090), env.HOST ?? "127.0.0.1", listening));
  log.info(`the picture is at http://${env.HOST ?? "127.0.0.1"}:${server.address().port}/`);
  ready();

  if (!signal.aborted) await new Promise((done) => signal.addEventListener("abort", done));
  job.end();
  server.close();
  server.closeAllConnections();
}

function send(response, event) { response.write(`data: ${JSON.stringify(event)}\n\n`); }

function json(response, status, value) {
  if (response.headersSent) return;
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

async function body(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    if ((size += part.length) > MAX_BODY) throw new Error("the body is too large");
    parts.push(part);
  }
  return Buffer.concat(parts);
}
