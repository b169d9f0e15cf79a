package migrate_test

import (
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stark-orchestrator/stark/supabase"
	"github.com/stark-orchestrator/stark/supabase/migrate"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// formerFeed is how servers asked for changes before the log had a row for each statement.
const formerFeed = `
	with at as materialized (select pg_current_snapshot() as snap)
	select coalesce(c.kind, '') || ' ' || id from at left join (
		select kind, xid, array_agg(id) as ids from stark.changes
		where xid >= pg_snapshot_xmin($1::text::pg_snapshot)
		  and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
		group by kind, xid) c on true, unnest(c.ids) id order by 1`

// migrationsBefore are the migrations of lower versions.
func migrationsBefore(t *testing.T, version string) fs.FS {
	t.Helper()
	before := fstest.MapFS{}
	names, err := fs.Glob(supabase.Migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name >= "migrations/"+version {
			continue
		}
		text, err := fs.ReadFile(supabase.Migrations, name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = &fstest.MapFile{Data: text}
	}
	return before
}

// Servers of before and of after the change of the log work side by side, and nobody who
// writes while it is changed loses a word or is refused.
func TestTheLogOfStatementsServesFormerServers(t *testing.T) {
	t.Parallel()
	d := migratetest.Bare(t)
	if _, err := migrate.UpFrom(t.Context(), d.Conn, migrationsBefore(t, "20260101000900")); err != nil {
		t.Fatal(err)
	}
	owner := d.User(t, "developer")
	k := d.Pack(t, owner, "hello", "1.0.0")
	const insert = `insert into public.pods (pack_id, created_by) values ($1, $2) returning 'pod ' || id`
	cursor := migratetest.Value[string](t, d.Conn, `select pg_current_snapshot()::text`)
	want := []string{migratetest.Value[string](t, d.Conn, insert, k, owner)}

	writer, late, watcher := d.Connect(t, "postgres"), d.Connect(t, "postgres"), d.Connect(t, "postgres")
	waiting := func(n int) {
		t.Helper()
		for migratetest.Value[int](t, watcher, `select count(*) from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`) != n {
			if t.Context().Err() != nil {
				t.Fatal("nobody waits for a lock")
			}
		}
	}
	migratetest.Exec(t, writer, `begin`)
	want = append(want, migratetest.Value[string](t, writer, insert, k, owner))
	done, made := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := migrate.Up(t.Context(), d.Conn)
		done <- err
	}()
	waiting(1)
	go func() {
		var id string
		err := late.QueryRow(t.Context(), insert, k, owner).Scan(&id)
		want = append(want, id)
		made <- err
	}()
	waiting(2)
	second := migratetest.Value[string](t, writer, insert, k, owner)
	migratetest.Exec(t, writer, `commit`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-made; err != nil {
		t.Fatalf("who wrote meanwhile: %v", err)
	}
	if n := migratetest.Value[float32](t, d.Conn, `select reltuples from pg_class where oid = 'stark.change_log'::regclass`); n < 1 {
		t.Errorf("Postgres takes the log for one of %v rows: it plans as for an unknown table until somebody looks", n)
	}
	want = append(want, second)
	for range 3 {
		want = append(want, migratetest.Value[string](t, d.Conn, insert, k, owner))
	}
	got := slices.DeleteFunc(migratetest.Values[string](t, d.Conn, formerFeed, cursor), func(s string) bool { return s[:3] != "pod" })
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("a former server is told of\n%q, want\n%q", got, want)
	}
	if n := d.Exec(t, `delete from public.pods`); n != int64(len(want)) {
		t.Errorf("%d pods, want %d", n, len(want))
	}
	if rows := migratetest.Values[int](t, d.Conn, `select cardinality(ids) from stark.change_log where kind = 'pod' and op = 'D'`); !slices.Equal(rows, []int{len(want)}) {
		t.Errorf("of one statement the log has %v", rows)
	}
}
