// Package migratetest gives each test a database of its own: Postgres with
// Supabase's roles and schemas and all migrations applied, cloned from a
// template, so that a database costs some hundredths of a second. It is for
// tests alone.
package migratetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/supabase/devstack/bootstrap"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

const (
	template = "stark_template"
	bare     = "stark_bare"
	limit    = time.Minute // for the start and the end of Postgres
)

// server is set by Main before any test runs.
var server *pg.Server

var counter atomic.Int64

// Main runs the tests of a package on a Postgres that it starts and stops. It
// belongs into TestMain.
func Main(ctx context.Context, m *testing.M) int {
	starting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := start(starting); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	stopping, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := server.Stop(stopping); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func start(ctx context.Context) (err error) {
	server, err = pg.Start(ctx, pg.Options{Settings: map[string]string{"max_connections": "200"}})
	if err != nil {
		return err
	}
	admin, err := server.Connect(ctx, bootstrap.Superuser, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close(ctx) }()
	// The database postgres has the bootstrap already; it becomes the bare template.
	if _, err := admin.Exec(ctx, "create database "+bare+" owner postgres template template0"); err != nil {
		return fmt.Errorf("make the bare database: %w", err)
	}
	if err := on(ctx, bootstrap.Superuser, bare, bootstrap.Run); err != nil {
		return err
	}
	if _, err := admin.Exec(ctx, "create database "+template+" owner postgres template "+bare); err != nil {
		return fmt.Errorf("make the template: %w", err)
	}
	return on(ctx, "postgres", template, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := migrate.Up(ctx, conn)
		return err
	})
}

func on(ctx context.Context, user, database string, do func(context.Context, *pgx.Conn) error) error {
	conn, err := server.Connect(ctx, user, database)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, conn), conn.Close(ctx))
}

// DB is a database of one test.
type DB struct {
	Name string
	Conn *pgx.Conn // logged in as postgres
}

// New gives a database with every migration applied.
func New(t *testing.T) *DB { t.Helper(); return clone(t, template) }

// Bare gives a database as a fresh Supabase project has it, without migrations.
func Bare(t *testing.T) *DB { t.Helper(); return clone(t, bare) }

func clone(t *testing.T, from string) *DB {
	t.Helper()
	name := fmt.Sprintf("t%d", counter.Add(1))
	err := on(t.Context(), bootstrap.Superuser, "postgres", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "create database "+name+" owner postgres template "+from)
		return err
	})
	if err != nil {
		t.Fatalf("clone %s: %v", from, err)
	}
	d := &DB{Name: name}
	d.Conn = d.Connect(t, "postgres")
	return d
}

// URL is where programs of their own find the database; the password is postgres.
func (d *DB) URL() string { return server.URL(d.Name) }

// Connect opens a further connection, closed when the test ends.
func (d *DB) Connect(t *testing.T, role string) *pgx.Conn {
	t.Helper()
	conn, err := server.Connect(t.Context(), role, d.Name)
	if err != nil {
		t.Fatalf("connect to %s as %s: %v", d.Name, role, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// User makes an account with the roles, and viewer, as signing up does.
func (d *DB) User(t *testing.T, roles ...string) string {
	t.Helper()
	id := uuid.NewString()
	d.Exec(t, `insert into auth.users (id, email) values ($1, $2)`, id, id+"@example.com")
	for _, role := range append([]string{"viewer"}, roles...) {
		d.Exec(t, `insert into public.user_roles (user_id, role) values ($1, $2::public.stark_role) on conflict do nothing`, id, role)
	}
	return id
}

// Pack makes a ready pack and returns its id.
func (d *DB) Pack(t *testing.T, owner, name, version string) string {
	t.Helper()
	return Value[string](t, d.Conn, `insert into public.packs (name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size)
		values ($1, $2, 'node', $3, 'ready', $4, 10) returning id::text`, name, version, owner, strings.Repeat("a", 64))
}

// Exec runs a statement as postgres.
func (d *DB) Exec(t *testing.T, sql string, args ...any) int64 {
	t.Helper()
	return Exec(t, d.Conn, sql, args...)
}

// As runs do in a transaction as the signed-in user, as PostgREST does, and
// keeps it unless do fails.
func (d *DB) As(t *testing.T, userID string, do func(q Querier) error) error {
	t.Helper()
	return AsOn(t, d.Conn, userID, do)
}

// AsOn is As on a connection of the caller's.
func AsOn(t *testing.T, conn *pgx.Conn, userID string, do func(q Querier) error) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		claims := fmt.Sprintf(`{"sub":%q,"role":"authenticated"}`, userID)
		if _, err := tx.Exec(t.Context(), `select set_config('request.jwt.claims', $1, true)`, claims); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), `set local role authenticated`); err != nil {
			return err
		}
		return do(tx)
	})
}

// AsService runs do in a transaction as service_role.
func (d *DB) AsService(t *testing.T, do func(q Querier) error) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), d.Conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `set local role service_role`); err != nil {
			return err
		}
		return do(tx)
	})
}

// Querier is a connection or a transaction.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Exec runs a statement that must succeed and returns how many rows it touched.
func Exec(t *testing.T, q Querier, sql string, args ...any) int64 {
	t.Helper()
	tag, err := q.Exec(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return tag.RowsAffected()
}

// Values returns the only column of a query that must succeed.
func Values[T any](t *testing.T, q Querier, sql string, args ...any) []T {
	t.Helper()
	rows, err := q.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

// Value returns the only value of a query that must succeed.
func Value[T any](t *testing.T, q Querier, sql string, args ...any) T {
	t.Helper()
	out := Values[T](t, q, sql, args...)
	if len(out) != 1 {
		t.Fatalf("%s: %d rows, want 1", sql, len(out))
	}
	return out[0]
}

// Code returns the SQLSTATE of an error, or "" where there is none.
func Code(err error) string {
	if fault, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fault.Code
	}
	return ""
}
