// Package pg runs a private Postgres without Docker and without root rights: it finds or fetches the
// binaries, keeps one prepared data directory per version as a template, copies it, and starts and stops
// the server. Every database it makes carries Supabase's roles and schemas (package bootstrap).
//
// The server listens on loopback and on a socket that only its own account can reach. It is for
// development and tests; it makes no backups and keeps no replicas.
package pg
