// Package pgtest gives tests databases of their own on one shared server.
package pgtest

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
)

// Clone copies database postgres, to which nobody may be connected at that time, and returns the copy's name.
func Clone(t *testing.T, s *pg.Server) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	admin, err := s.Connect(t.Context(), "supabase_admin", "template1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = admin.Exec(t.Context(), "create database "+name+" template postgres")
	if err := errors.Join(err, admin.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return name
}

// Pool logs in to a database as a role, until the test ends.
func Pool(t *testing.T, s *pg.Server, role, database string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), s.ConnString(role, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
