// Package postgres holds all SQL of the server and the only way to the database.
//
// There are two doors. AsUser enters as `authenticated` with the
// caller's verified claims, so that row level security decides; AsService enters
// as `service_role` and is for the loops alone. Both are transactions, or
// batches that are one implicit transaction: settings and statements leave in
// one round trip. Nothing here ever sets a session-level role, so the pool works
// behind a transaction pooler too.
//
// Every transaction of a server tells the triggers not to notify (stark.quiet):
// a commit that notifies cannot share its flush with others. DB wakes its own
// feed after each commit and announces commits to other servers with one
// coalesced notification.
//
// What a caller gets to see of a failure is a fault.Error; SQL text and driver
// messages stay in its cause, for the log.
package postgres
