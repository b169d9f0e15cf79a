// Package dispatch is the WebSocket endpoint: sessions of agents, whose nodes it
// tells what to run, and of users who watch. It owns sockets and what waits for
// them; it decides nothing about pods and stores nothing.
//
// # A node's session
//
// An agent shows a join token, a user's token or its node credential, registers,
// and gets the complete wanted set of its node from the database, then numbered
// increments from the read model. The read model may lag behind the set, so an
// increment never takes an assignment back to an older incarnation nor from "stop"
// to "run". What is not acknowledged in time is sent again, as a complete set. A stop that
// is overdue is told again with each heartbeat; one of a pod of which nothing was alive when
// the node came, and of which it has no word since, is taken as done.
//
// The newest connection of a node wins and the older one is closed. A closed
// socket makes its node suspect at once; silence is judged by the node sweeper
// from the leases, which the dispatcher renews once a second for all nodes that
// have sent a heartbeat, in one statement.
//
// # Who waits for whom
//
// Each session has one reader, in a goroutine of its own that outlives the request, and
// a writer while there is something to write: ten thousand nodes are mostly silent, and
// each goroutine and buffer counts as often. Answers and assignments are queued
// without waiting, and a session whose queue is full is closed: it can come back
// and will get the complete set. Watches wait for their own socket; when they fall
// behind the read model they end with a resync. A reader waits for nobody: what
// asks the database runs beside it, within bounds.
package dispatch
