package pgtap

import (
	"context"
	"os"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
	"github.com/stark-orchestrator/stark/tests/project"
)

// target is a database with the migrations: one of the test's own, or that of the
// Supabase which the environment names, where the files leave nothing behind.
type target struct {
	conn  *pgx.Conn // as postgres
	url   string
	named bool
}

func newTarget(t *testing.T) target {
	t.Helper()
	if os.Getenv("STARK_TEST_SUPABASE_URL") == "" {
		d := migratetest.New(t)
		return target{conn: d.Conn, url: d.URL()}
	}
	p := project.New(t)
	conn, err := pgx.Connect(t.Context(), p.DBURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return target{conn: conn, url: p.DBURL, named: true}
}

// pgTAP reports whether the extension can be had.
func (d target) pgTAP(t *testing.T) bool {
	t.Helper()
	return migratetest.Value[bool](t, d.conn, `select exists (select from pg_available_extensions where name = 'pgtap')`)
}

// shim makes the functions of pgTAP, and takes them away from a project that stays.
func (d target) shim(t *testing.T) {
	t.Helper()
	migratetest.Exec(t, d.conn, shim)
	if !d.named {
		return
	}
	t.Cleanup(func() {
		for _, m := range regexp.MustCompile(`create function (extensions\.\w+)`).FindAllStringSubmatch(shim, -1) {
			if _, err := d.conn.Exec(context.WithoutCancel(t.Context()), "drop function "+m[1]); err != nil {
				t.Error(err)
			}
		}
	})
}
