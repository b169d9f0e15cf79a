package migrate_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/supabase/migrate"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

func TestMain(m *testing.M) { os.Exit(migratetest.Main(context.Background(), m)) }

func TestUpAppliesEverythingOnce(t *testing.T) {
	t.Parallel()
	d := migratetest.Bare(t)

	before, err := migrate.Status(t.Context(), d.Conn)
	if err != nil {
		t.Fatalf("Status on a fresh database: %v", err)
	}
	first, err := migrate.Up(t.Context(), d.Conn)
	if err != nil {
		t.Fatalf("Up: %v", err)
	}
	if len(first) != len(before) || len(first) < 15 {
		t.Errorf("applied %d of %d migrations", len(first), len(before))
	}
	again, err := migrate.Up(t.Context(), d.Conn)
	if err != nil || len(again) != 0 {
		t.Errorf("second Up applied %v, %v; want nothing", again, err)
	}

	d.Exec(t, `insert into supabase_migrations.schema_migrations (version, name) values ('29990101000000', 'later')`)
	after, err := migrate.Status(t.Context(), d.Conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range after {
		if !m.Applied || m.Unknown != (m.Version == "29990101000000") {
			t.Errorf("status %+v", m)
		}
	}
	if len(after) != len(first)+1 {
		t.Errorf("%d migrations listed, want %d", len(after), len(first)+1)
	}
}

func TestTheRecordIsTheOneOfTheCLI(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	type row struct {
		Version, Name string
		Statements    []string
	}
	rows, _ := d.Conn.Query(t.Context(), `select version, name, statements from supabase_migrations.schema_migrations order by version limit 1`)
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[row])
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != "20260101000001" || got.Name != "users" {
		t.Errorf("first record %s %s", got.Version, got.Name)
	}
	if len(got.Statements) < 10 || !slices.ContainsFunc(got.Statements, func(s string) bool {
		return strings.HasPrefix(s, "create table public.users (")
	}) {
		t.Errorf("statements: %q", got.Statements)
	}
}

func TestProgramsThatStartTogetherTakeTurns(t *testing.T) {
	t.Parallel()
	d := migratetest.Bare(t)
	var group errgroup.Group
	counts := make([]int, 4)
	for i := range counts {
		conn := d.Connect(t, "postgres")
		group.Go(func() error {
			applied, err := migrate.Up(t.Context(), conn)
			counts[i] = len(applied)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	if want := migratetest.Value[int](t, d.Conn, `select count(*) from supabase_migrations.schema_migrations`); total != want {
		t.Errorf("%v migrations applied in all, want %d", counts, want)
	}
}

func TestAFaultNamesFileAndLineAndLeavesNothing(t *testing.T) {
	t.Parallel()
	d := migratetest.Bare(t)
	d.Exec(t, `create table public.packs (id int)`)
	applied, err := migrate.Up(t.Context(), d.Conn)
	fault, ok := errors.AsType[*migrate.Error](err)
	if !ok {
		t.Fatalf("Up = %v, want a *migrate.Error", err)
	}
	if fault.File != "supabase/migrations/20260101000002_packs.sql" || fault.Line != 7 {
		t.Errorf("fault at %s:%d, want line 7 of packs", fault.File, fault.Line)
	}
	if migratetest.Code(err) != "42P07" {
		t.Errorf("cause %v, want 42P07", err)
	}
	if !slices.Equal(applied, []string{"20260101000001"}) {
		t.Errorf("applied %v", applied)
	}
	if n := migratetest.Value[int](t, d.Conn, `select count(*) from pg_type where typname = 'pack_status'`); n != 0 {
		t.Error("the failed migration left a type behind")
	}
}

func TestSeedMayRunTwice(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	for range 2 {
		if err := migrate.Seed(t.Context(), d.Conn); err != nil {
			t.Fatal(err)
		}
	}
	if n := migratetest.Value[int](t, d.Conn, `select count(*) from auth.users`); n != 0 {
		t.Errorf("the seed made %d accounts", n)
	}
	if n := migratetest.Value[int](t, d.Conn, `select count(*) from public.namespaces where name = 'demo'`); n != 1 {
		t.Errorf("%d namespaces demo", n)
	}
}

func TestEnsureServerRole(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	for _, password := range []string{"first", "it's \\ second $$"} {
		if err := migrate.EnsureServerRole(t.Context(), d.Conn, password); err != nil {
			t.Fatal(err)
		}
		config, err := pgx.ParseConfig(d.URL())
		if err != nil {
			t.Fatal(err)
		}
		config.User, config.Password = migrate.ServerRole, password
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatalf("log in: %v", err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if _, err := conn.Exec(t.Context(), `select from public.pods`); migratetest.Code(err) != "42501" {
			t.Errorf("without a role: %v, want 42501", err)
		}
		migratetest.Exec(t, conn, `set role service_role`)
		if n := migratetest.Value[int](t, conn, `select count(*) from public.pods`); n != 0 {
			t.Errorf("%d pods", n)
		}
	}
	if err := migrate.EnsureServerRole(t.Context(), d.Conn, ""); err == nil {
		t.Error("an empty password was taken")
	}
}

func TestEnsureServerRoleWithoutTheRight(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	conn := d.Connect(t, "authenticator")
	err := migrate.EnsureServerRole(t.Context(), conn, "secret")
	if !errors.Is(err, migrate.ErrServerRole) {
		t.Errorf("got %v, want ErrServerRole", err)
	}
	if strings.Contains(err.Error(), "SCRAM") || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the secret: %v", err)
	}
}

func TestDigestNamesTheContent(t *testing.T) {
	t.Parallel()
	if got := migrate.Digest(); len(got) != 64 || got != migrate.Digest() {
		t.Errorf("Digest() = %q, then %q", got, migrate.Digest())
	}
}
