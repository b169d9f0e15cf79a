/**
 * What a Stark pack may use. A pack is one bundled file, CommonJS or ES module,
 * whose default export is a function that is called once with a context:
 *
 *     import type { PackContext } from "@stark-orchestrator/pack";
 *     export default async function ({ log, signal, ready, onStop }: PackContext) { ... }
 *
 * The pod is running as soon as ready() is called, or when the function returned a
 * promise that is still pending after the first tick. The pod has completed when the
 * function has returned, or its promise is fulfilled; timers and servers that are
 * left then are ended. A throw or a rejection fails it.
 */
declare module "@stark-orchestrator/pack" {
  /** What this run is. */
  export interface Pod {
    readonly id: string;
    /** The pack's name. */
    readonly name: string;
    /** The pack's version. */
    readonly version: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly metadata: Readonly<Record<string, unknown>>;
    /** Raised by every move to another node or version. */
    readonly incarnation: number;
    /** Raised by every restart on the node. */
    readonly attempt: number;
    readonly nodeId: string;
    readonly runtime: "node" | "browser";
  }

  /** Writes to the pod's log. Fields are written behind the message as JSON. */
  export interface Log {
    (message: string, fields?: Record<string, unknown>): void;
    debug(message: string, fields?: Record<string, unknown>): void;
    info(message: string, fields?: Record<string, unknown>): void;
    warn(message: string, fields?: Record<string, unknown>): void;
    error(message: string, fields?: Record<string, unknown>): void;
  }

  export interface PackContext {
    readonly pod: Pod;
    /** The pod's environment; on Node.js it is in process.env too. */
    readonly env: Readonly<Record<string, string>>;
    /** Aborted when the pod shall stop; the grace period runs from then on. */
    readonly signal: AbortSignal;
    readonly log: Log;
    /** Says that the pack does its work now. */
    ready(): void;
    /** Registers what to do at a stop; the last one registered runs first. */
    onStop(handler: () => void | Promise<void>): void;
  }

  export type Pack = (context: PackContext) => unknown;
}
