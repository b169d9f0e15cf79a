package pgtap

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

func TestMain(m *testing.M) { os.Exit(migratetest.Main(context.Background(), m)) }

//go:embed shim.sql
var shim string

func files(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("../../../supabase/tests/*.test.sql")
	if err != nil || len(found) == 0 {
		t.Fatalf("no tests in supabase/tests: %v", err)
	}
	return found
}

func TestWithPgProve(t *testing.T) {
	prove, err := exec.LookPath("pg_prove")
	if err != nil {
		t.Skip("no pg_prove here (Debian: libtap-parser-sourcehandler-pgtap-perl); the tests run without it")
	}
	d := newTarget(t)
	if !d.pgTAP(t) {
		t.Skip("this Postgres has no pgtap (Debian: postgresql-15-pgtap); the tests run without it")
	}
	migratetest.Exec(t, d.conn, `create extension if not exists pgtap with schema extensions`)
	to, err := pgx.ParseConfig(d.url)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), prove, append([]string{
		"--host", to.Host, "--port", strconv.Itoa(int(to.Port)), "--username", to.User, "--dbname", to.Database,
	}, files(t)...)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+to.Password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("pg_prove: %v\n%s", err, out)
	}
	t.Logf("pg_prove ran:\n%s", out)
}

// The same files where nothing is installed. It runs everywhere, so that files
// which need more of pgTAP than this are found by those who have it.
func TestWithoutPgTAP(t *testing.T) {
	d := newTarget(t) // not in parallel: a named project is one for all
	if _, err := exec.LookPath("pg_prove"); d.named && err == nil && d.pgTAP(t) {
		t.Skip("pg_prove runs on this project")
	}
	d.shim(t)
	for _, file := range files(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		planned, passed := 0, 0
		for _, line := range results(t, d.conn, string(text)) {
			switch {
			case strings.HasPrefix(line, "1.."):
				planned++
			case strings.HasPrefix(line, "ok "):
				passed++
			default:
				t.Errorf("%s: %s", filepath.Base(file), line)
			}
		}
		if planned != 1 || passed == 0 {
			t.Errorf("%s: %d plans, %d results", file, planned, passed)
		}
		t.Logf("%s ran without pgTAP, %d passed", filepath.Base(file), passed)
	}
}

// results runs a file as psql would, and gives every line that it returns.
func results(t *testing.T, conn *pgx.Conn, sql string) []string {
	t.Helper()
	var lines []string
	reader := conn.PgConn().Exec(t.Context(), sql)
	for reader.NextResult() {
		for rows := reader.ResultReader(); rows.NextRow(); {
			lines = append(lines, string(rows.Values()[0]))
		}
	}
	if err := reader.Close(); err != nil {
		t.Errorf("%v", err)
	}
	return lines
}
