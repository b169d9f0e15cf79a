// Package project gives the tests that need a Supabase one to run against: the one
// that the environment names, else, with build tag containers, Supabase's own
// images, else the embedded stack. It applies the migrations and starts nothing of
// Stark. Tests do not see which of the three it is.
package project
