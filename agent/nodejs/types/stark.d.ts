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

  /** What a file is. Dates differ between machines, everything else does not. */
  export interface FileStat {
    readonly size: number;
    readonly mode: number;
    readonly atime: Date;
    readonly mtime: Date;
    readonly birthtime: Date;
    isFile(): boolean;
    isDirectory(): boolean;
    isSymbolicLink(): boolean;
  }

  /** Errors of storage: code is ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, EINVAL, ENOSPC, ENAMETOOLONG, EBUSY or EIO. */
  export interface StorageError extends Error {
    readonly code: string;
    readonly path: string;
    readonly operation: string;
  }

  /**
   * Files of this run's own: a folder on Node.js, IndexedDB in a tab, gone when the run
   * ends. Paths are POSIX, from the root; ".." never leads above it. It holds what the
   * pod's storage limit says; without one 64 MiB in a tab, and any size on Node.js. Of a
   * limit names take room as well, two bytes for each character of a path.
   */
  export interface Storage {
    initialize(): Promise<void>;
    isInitialized(): boolean;
    getRootPath(): string;
    readFile(path: string, encoding?: "utf-8" | "utf8" | "utf-16le" | "utf16le" | "latin1" | "binary"): Promise<string>;
    readFileBytes(path: string): Promise<Uint8Array>;
    writeFile(path: string, data: string | ArrayBuffer | ArrayBufferView): Promise<void>;
    appendFile(path: string, data: string | ArrayBuffer | ArrayBufferView): Promise<void>;
    /** recursive is true unless told: then an existing folder is no error. */
    mkdir(path: string, recursive?: boolean): Promise<void>;
    /** Names in order of their code units. */
    readdir(path?: string): Promise<string[]>;
    readdirWithTypes(path?: string): Promise<Array<{ readonly name: string; isFile(): boolean; isDirectory(): boolean; isSymbolicLink(): boolean }>>;
    rmdir(path: string, recursive?: boolean): Promise<void>;
    stat(path: string): Promise<FileStat>;
    exists(path: string): Promise<boolean>;
    isFile(path: string): Promise<boolean>;
    isDirectory(path: string): Promise<boolean>;
    unlink(path: string): Promise<void>;
    rename(from: string, to: string): Promise<void>;
    copyFile(from: string, to: string): Promise<void>;
  }

  export interface HttpOptions {
    headers?: Record<string, string>;
    query?: Record<string, string | number | boolean | null | undefined>;
    /** Plain objects and arrays are sent as JSON. */
    body?: unknown;
    /** Milliseconds for request and answer, 30,000 unless told; 0 for none. */
    timeout?: number;
    /** How often it is tried again after a timeout, without a network, and after 408, 429, 500, 502, 503, 504; 0 unless told. */
    retries?: number;
    /** Milliseconds before the first retry, doubled with each; 1,000 unless told. */
    retryDelay?: number;
    /** Whether another status than 2xx throws; true unless told. */
    throwOnError?: boolean;
    /** Unless told, JSON by its media type and text otherwise. */
    responseType?: "json" | "text" | "bytes";
    redirect?: "follow" | "error" | "manual";
    signal?: AbortSignal;
  }

  export interface HttpResponse<T = unknown> {
    readonly data: T;
    readonly status: number;
    readonly statusText: string;
    readonly headers: Record<string, string>;
    /** Milliseconds. */
    readonly duration: number;
  }

  export interface HttpError extends Error {
    /** 0 where there was no answer. */
    readonly status: number;
    readonly data: unknown;
    readonly code: string;
    readonly isTimeout: boolean;
    readonly isNetworkError: boolean;
    readonly isCancelled: boolean;
  }

  export interface HttpInterceptor {
    request?(options: HttpOptions & { url: string; method?: string }): unknown;
    response?(response: HttpResponse): unknown;
    error?(error: HttpError): unknown;
  }

  /** fetch with time limits, retries and defaults. In a tab the rules of browsers for other origins hold (CORS). */
  export interface Http {
    readonly HttpError: new (message: string, fields: object) => HttpError;
    request<T = unknown>(url: string, options?: HttpOptions & { method?: string }): Promise<HttpResponse<T>>;
    get<T = unknown>(url: string, options?: HttpOptions): Promise<HttpResponse<T>>;
    delete<T = unknown>(url: string, options?: HttpOptions): Promise<HttpResponse<T>>;
    head(url: string, options?: HttpOptions): Promise<HttpResponse<string>>;
    options<T = unknown>(url: string, options?: HttpOptions): Promise<HttpResponse<T>>;
    post<T = unknown>(url: string, body?: unknown, options?: HttpOptions): Promise<HttpResponse<T>>;
    put<T = unknown>(url: string, body?: unknown, options?: HttpOptions): Promise<HttpResponse<T>>;
    patch<T = unknown>(url: string, body?: unknown, options?: HttpOptions): Promise<HttpResponse<T>>;
    setAuthToken(token: string): void;
    clearAuthToken(): void;
    setDefaultHeader(name: string, value: string): void;
    removeDefaultHeader(name: string): void;
    setBaseUrl(url: string): void;
    getBaseUrl(): string;
    use(interceptor: HttpInterceptor): void;
    /** A client of its own, with these defaults. */
    create(defaults?: HttpOptions & { baseUrl?: string }): Http;
    createAbortController(): AbortController;
    /** Cancels what is under way and refuses what comes later. */
    dispose(): void;
  }

  export interface TaskOptions {
    /** Milliseconds, 60,000 unless told; then the worker is ended, whatever it does. */
    timeout?: number;
    signal?: AbortSignal;
    transfer?: Transferable[];
  }

  export interface Task<T> {
    readonly promise: Promise<T>;
    /** Ends the worker that runs the task; false when it was done already. */
    cancel(): boolean;
  }

  export interface WorkersOptions {
    preset?: "cpu-intensive" | "io-bound";
    minWorkers?: number;
    /** At most 64; as many as there are cores unless told. */
    maxWorkers?: number;
    maxQueueSize?: number;
    taskTimeout?: number;
    /** Milliseconds after which an idle worker ends. */
    idleTimeout?: number;
    methods?: Record<string, (...args: any[]) => unknown>;
  }

  /**
   * Runs functions in further threads. A function is sent as its text: it sees its
   * arguments and nothing of what was around it. Rejections have the code TaskTimeout,
   * TaskCancelled, WorkerFailed, QueueFull, WorkerScriptRequired, UnknownMethod or
   * WorkerNotInitialized, or are what the function threw.
   */
  export interface Workers {
    initialize(options?: WorkersOptions): Promise<void>;
    isInitialized(): boolean;
    exec<A extends any[], R>(f: (...args: A) => R, args?: A, options?: TaskOptions): Promise<Awaited<R>>;
    execCancellable<A extends any[], R>(f: (...args: A) => R, args?: A, options?: TaskOptions): Task<Awaited<R>>;
    execMethod(name: string, args?: unknown[], options?: TaskOptions): Promise<any>;
    execMethodCancellable(name: string, args?: unknown[], options?: TaskOptions): Task<any>;
    proxy(): Record<string, (...args: any[]) => Promise<any>>;
    getStats(): { totalWorkers: number; busyWorkers: number; idleWorkers: number; pendingTasks: number; activeTasks: number };
    /** Gives the number of tasks that were cancelled. */
    cancelAll(): number;
    /** Waits for what runs, at most timeout milliseconds (5,000 unless told); force does not wait. */
    terminate(force?: boolean, timeout?: number): Promise<void>;
  }

  export interface PackContext {
    readonly pod: Pod;
    /** The pod's environment; on Node.js it is in process.env too. */
    readonly env: Readonly<Record<string, string>>;
    /** Aborted when the pod shall stop; the grace period runs from then on. */
    readonly signal: AbortSignal;
    readonly log: Log;
    readonly storage: Storage;
    readonly http: Http;
    readonly workers: Workers;
    /**
     * The element that a pack draws into whose metadata say {"ui": true}, an HTMLElement;
     * nothing elsewhere. It stands in a document of its own, visible on the page of the tab.
     */
    readonly root?: any;
    /** Says that the pack does its work now. */
    ready(): void;
    /** Registers what to do at a stop; the last one registered runs first. */
    onStop(handler: () => void | Promise<void>): void;
  }

  export type Pack = (context: PackContext) => unknown;
}
