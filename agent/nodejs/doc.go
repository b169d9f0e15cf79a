// Package nodejs runs packs on Node.js: it implements executor.Executor with host
// processes whose main thread supervises and whose worker threads run the packs
// (host.cjs). It owns those processes, their folders and the cache of bundles. It
// refuses to decide what runs, or when to try again: that is the agent's.
//
// A host serves one pod and is never used again; pods with isolation "shared" of the
// same owner and namespace live in one host as workers of it. Hosts that wait with a
// started worker (the warm pool) make a start a matter of milliseconds. A memory
// limit counts what the pack adds to an idle host: heap by V8's own limit, everything
// else by watching the resident memory from outside.
//
// A host is its own process group, killed as a whole when its pod has ended; when
// the agent dies, the closed control socket and, on Linux, the parent-death signal
// end it. A child that a pack starts in a session of its own escapes that.
// Rejected: a pool of workers in one process (one huge allocation or one signal
// would end every pod of the node), and stdout as the control channel (a pack can
// write to it).
package nodejs
