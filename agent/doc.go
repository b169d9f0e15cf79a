// Package agent is the program on a node: it connects to a server, registers,
// works towards the wanted set of runs that the server sends, and reports what
// became of them until the server has said that it knows. It owns the protocol's
// client side, restarts, back-off, and what must survive a restart of its own. It
// refuses to know processes, files and sockets: those come in as an
// executor.Executor, a State and a Dialer, so that one agent serves Node.js hosts
// and browser tabs (it builds for js/wasm without net/http).
//
// Three rules hold everything together. An attempt is written to State before it is
// started, so no run key ever starts twice. A terminal report is written to State
// before it is sent and deleted when it is acknowledged, so a kill -9 loses none.
// One goroutine owns the set of pods, and each pod has one goroutine of its own.
package agent
