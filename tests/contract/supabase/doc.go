// Package supabase holds the contract tests of the local stack: the unmodified
// client libraries of Supabase, for JavaScript and for Go, do against it what
// they do against a hosted project. They need Node.js and npm; without them
// the tests fail, because a skipped contract proves nothing.
package supabase
