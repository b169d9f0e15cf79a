// Package pgtap runs the pgTAP tests of supabase/tests: by pg_prove where it and
// the extension are installed, else by itself, with the few functions of pgTAP
// that the tests use. The log says which.
package pgtap
