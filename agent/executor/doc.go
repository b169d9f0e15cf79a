// Package executor is the seam between the agent, which decides what runs, and
// the runtimes that run it. It owns the interfaces and the one function that
// moves a run forward; it refuses to know processes, files, sockets or timers.
//
// The rejected alternative is one blocking Run(ctx) per pod: it hides when a pack
// became ready and leaves no place for the grace period of a stop.
package executor
