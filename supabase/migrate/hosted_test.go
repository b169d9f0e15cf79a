package migrate_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/supabase/devstack/bootstrap"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
	"github.com/stark-orchestrator/stark/supabase/migrate"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// The role postgres of a hosted project is neither superuser nor the owner of the
// schemas of Auth; what it may do there are triggers, references and reads. It does
// make policies on the objects of Storage, for which plain Postgres wants membership.
func TestMigrationsNeedNoMoreThanAHostedProjectGives(t *testing.T) {
	t.Parallel()
	d := migratetest.Bare(t)
	role := "hosted_" + d.Name
	super := d.Connect(t, bootstrap.Superuser)
	makeHosted(t, super, d.Name, role)
	migrateAsHosted(t, d.Connect(t, role))
}

// The same on the Postgres that hosted projects have, which gives the maker of a role
// less over it. The machine may have another one, so it comes from npm.
func TestMigrationsOnTheNewestPostgres(t *testing.T) {
	t.Parallel()
	s, err := pg.Start(t.Context(), pg.Options{Fetched: true})
	if errors.Is(err, pg.ErrNotInstalled) {
		t.Skipf("no other Postgres can be had here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	connect := func(role string) *pgx.Conn {
		conn, err := s.Connect(t.Context(), role, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		return conn
	}
	super := connect(bootstrap.Superuser)
	if v := migratetest.Value[int](t, super, `select current_setting('server_version_num')::int`); v < 170000 {
		t.Fatalf("it is version %d", v)
	}
	makeHosted(t, super, "postgres", "hosted")
	migrateAsHosted(t, connect("hosted"))
}

// makeHosted makes a role that may what postgres may in a hosted project.
func makeHosted(t *testing.T, super *pgx.Conn, database, role string) {
	t.Helper()
	for _, sql := range []string{
		`create role ` + role + ` login nosuperuser createdb createrole replication bypassrls`,
		`grant anon, authenticated, service_role to ` + role + ` with admin option`,
		`grant supabase_storage_admin to ` + role,
		`alter database ` + database + ` owner to ` + role,
		`grant all on schema public, extensions to ` + role,
		`grant usage on schema auth, storage to ` + role,
		`grant all on all tables in schema auth to ` + role,
		`grant all on all routines in schema auth to ` + role,
		`grant all on storage.buckets, storage.objects to ` + role,
		`alter default privileges for role ` + role + ` in schema public grant all on tables to anon, authenticated, service_role`,
		`alter default privileges for role ` + role + ` in schema public grant all on functions to anon, authenticated, service_role`,
	} {
		migratetest.Exec(t, super, sql)
	}
}

// migrateAsHosted applies everything and looks at what is there then.
func migrateAsHosted(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	if super := migratetest.Value[bool](t, conn, `select rolsuper from pg_roles where rolname = current_user`); super {
		t.Fatal("the role is a superuser")
	}
	if applied, err := migrate.Up(t.Context(), conn); err != nil || len(applied) == 0 {
		t.Fatalf("applied %v, %v", applied, err)
	}
	if err := migrate.Seed(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if buckets := migratetest.Values[string](t, conn, `select id from storage.buckets where not public`); !slices.Equal(buckets, []string{"pack-bundles"}) {
		t.Errorf("buckets: %v", buckets)
	}
	for name, query := range lints {
		for _, offender := range migratetest.Values[string](t, conn, query) {
			t.Errorf("%s: %s", name, offender)
		}
	}
}

// Where migrations may not write to Storage's tables, the bucket comes from
// config.toml, and the rest is there all the same.
func TestMigrationsGoOnWithoutABucket(t *testing.T) {
	t.Parallel()
	d := migratetest.Bare(t)
	super := d.Connect(t, bootstrap.Superuser)
	migratetest.Exec(t, super, `create function storage.locked() returns trigger language plpgsql as
		$$begin raise exception using errcode = '42501', message = 'not yours'; end$$`)
	migratetest.Exec(t, super, `create trigger locked before insert on storage.buckets execute function storage.locked()`)
	if _, err := migrate.Up(t.Context(), d.Conn); err != nil {
		t.Fatal(err)
	}
	if n := migratetest.Value[int](t, d.Conn, `select count(*) from storage.buckets`); n != 0 {
		t.Errorf("%d buckets", n)
	}
	if n := migratetest.Value[int](t, d.Conn, `select count(*) from pg_policies where schemaname = 'storage' and tablename = 'objects'`); n != 3 {
		t.Errorf("%d policies on objects", n)
	}
}
