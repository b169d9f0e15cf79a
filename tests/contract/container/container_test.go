package container

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"

	"github.com/stark-orchestrator/stark/supabase/devstack/bootstrap"
	"github.com/stark-orchestrator/stark/supabase/migrate"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
	"github.com/stark-orchestrator/stark/tests/project"
)

var image = flag.String("supabase-image", project.ImagePostgres, "database image of Supabase to try; it has to be there")

const (
	startLimit = 3 * time.Minute // for the image to initialize its database
	pollEvery  = 250 * time.Millisecond
	password   = "postgres"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(migratetest.Main(context.Background(), m))
}

// database is a fresh one with Supabase's roles, and no migration of ours.
type database struct {
	admin    *pgx.Conn // superuser: stands for Auth and Storage, which own their tables
	postgres *pgx.Conn // what users of a project get; not superuser
}

func TestTheSupabaseImage(t *testing.T) {
	port := start(t)
	tryRights(t, database{admin: dial(t, port, bootstrap.Superuser), postgres: dial(t, port, "postgres")})
}

func TestTheEmbeddedDatabase(t *testing.T) {
	t.Parallel()
	d := migratetest.Bare(t)
	tryRights(t, database{admin: d.Connect(t, bootstrap.Superuser), postgres: d.Conn})
}

// start runs the image until the test ends and returns host:port of its database.
func start(t *testing.T) string {
	t.Helper()
	// The reaper is one more image to have; the cleanup below does its work.
	t.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	if err := project.Available(t.Context(), *image); err != nil {
		t.Skip(err)
	}

	const postgresPort = "5432/tcp"
	ctx, stop := context.WithTimeout(t.Context(), startLimit)
	defer stop()
	c, err := testcontainers.Run(ctx, *image,
		testcontainers.WithExposedPorts(postgresPort),
		testcontainers.WithEnv(map[string]string{"POSTGRES_PASSWORD": password, "POSTGRES_HOST": "/var/run/postgresql"}),
		testcontainers.WithLogger(log.TestLogger(t)))
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatalf("run %s: %v", *image, err)
	}
	host, err := c.Host(ctx)
	if err != nil {
		t.Fatalf("find %s: %v", *image, err)
	}
	port, err := c.MappedPort(ctx, postgresPort)
	if err != nil {
		t.Fatalf("find the port of %s: %v", *image, err)
	}
	address := net.JoinHostPort(host, port.Port())
	awaitPostgres(ctx, t, address)
	return address
}

// awaitPostgres waits for the database to take connections: while the image
// initializes itself it listens on its socket file alone.
func awaitPostgres(ctx context.Context, t *testing.T, address string) {
	t.Helper()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, url(address, "postgres"))
		if err == nil {
			_ = conn.Close(ctx)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the database of %s does not come up: %v", *image, err)
		}
	}
}

func url(address, user string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable&connect_timeout=5", user, password, address)
}

func dial(t *testing.T, address, user string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url(address, user))
	if err != nil {
		t.Fatalf("connect as %s: %v", user, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// services brings the tables of Storage to what Storage itself makes of them when
// it starts: the image alone has them as they were at first.
const services = `
alter table storage.buckets
  add column if not exists public boolean default false,
  add column if not exists file_size_limit bigint,
  add column if not exists allowed_mime_types text[]`

func tryRights(t *testing.T, d database) {
	t.Helper()
	migratetest.Exec(t, d.admin, services)
	if migratetest.Value[bool](t, d.postgres, `select rolsuper from pg_catalog.pg_roles where rolname = current_user`) {
		t.Error("postgres is superuser: what it may do proves nothing")
	}
	applied, err := migrate.Up(t.Context(), d.postgres)
	if err != nil || len(applied) == 0 {
		t.Fatalf("migrate: %v, %v", applied, err)
	}
	if again, err := migrate.Up(t.Context(), d.postgres); err != nil || len(again) != 0 {
		t.Errorf("migrate again: %v, %v", again, err)
	}
	for range 2 { // the seed may run any number of times
		if err := migrate.Seed(t.Context(), d.postgres); err != nil {
			t.Fatalf("seed: %v", err)
		}
	}

	ada, bob := newUser(t, d, "ada@example.com"), newUser(t, d, "bob@example.com")
	for _, insert := range []string{
		`insert into public.packs (name, version, runtime_tag) values ('secret', '1.0.0', 'node') returning id::text`,
		`insert into public.packs (name, version, runtime_tag, visibility) values ('open', '1.0.0', 'node', 'public') returning id::text`,
	} {
		if _, err := as(t, d, ada, insert); err != nil {
			t.Fatalf("%s: %v", insert, err)
		}
	}
	const names = `select name from public.packs order by name`
	for user, want := range map[string][]string{ada: {"open", "secret"}, bob: {"open"}} {
		if got, err := as(t, d, user, names); err != nil || !slices.Equal(got, want) {
			t.Errorf("visible packs: %v, %v, want %v", got, err, want)
		}
	}
	const overwrite = `update public.packs set description = 'mine' returning name`
	if got, err := as(t, d, bob, overwrite); err != nil || len(got) != 0 {
		t.Errorf("a stranger changed %v, %v", got, err)
	}
	const refused = "42501"
	for _, sql := range []string{
		`insert into public.user_roles (user_id, role) values (auth.uid(), 'admin') returning role::text`,
		`select id::text from stark.node_credentials`,
	} {
		if _, err := as(t, d, bob, sql); migratetest.Code(err) != refused {
			t.Errorf("%s: %v, want %s", sql, err, refused)
		}
	}
}

// newUser makes an account, as Auth does, with the role of a developer.
func newUser(t *testing.T, d database, email string) string {
	t.Helper()
	id := migratetest.Value[string](t, d.admin, `insert into auth.users (id, email) values (gen_random_uuid(), $1) returning id::text`, email)
	migratetest.Exec(t, d.postgres, `insert into public.user_roles (user_id, role) values ($1, 'developer') on conflict do nothing`, id)
	return id
}

// as runs a statement as the signed-in user and returns its only column. The older
// setting is for the image: its auth.uid() is of the time before Auth has renewed it.
func as(t *testing.T, d database, userID, sql string) (out []string, err error) {
	t.Helper()
	err = migratetest.AsOn(t, d.postgres, userID, func(q migratetest.Querier) error {
		if _, err := q.Exec(t.Context(), `select set_config('request.jwt.claim.sub', $1, true)`, userID); err != nil {
			return err
		}
		rows, err := q.Query(t.Context(), sql)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return out, err
}
