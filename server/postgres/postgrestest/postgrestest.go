// Package postgrestest gives each test a migrated database of its own on a real
// Postgres. It is for tests alone.
//
// The Postgres belongs to the test process: it starts with the first database
// that is asked for, is ready in some tenths of a second because devstack/pg
// copies a migrated template that all processes share, and ends when its last
// user is gone, or with the process, however that ends. A Postgres that several
// processes share would need a watchdog of its own to end, for half a second
// less.
package postgrestest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/supabase"
	"github.com/stark-orchestrator/stark/supabase/devstack/bootstrap"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

const limit = time.Minute // for starting and for stopping

// shared is the process's Postgres and how many use it.
type shared struct {
	mu     sync.Mutex
	users  int        // guarded by mu
	server *pg.Server // guarded by mu; nil while there are no users
	names  atomic.Int64
}

var process shared

// DB is one test's database and where to reach it.
type DB struct {
	Name      string
	URL       string // as role postgres, over TCP
	Superuser string // connection string of the superuser
	PID       int    // of the postmaster, which other tests use too
}

// Main keeps the Postgres for a whole package and ends it after m; TestMain may
// call it. Without it Postgres ends whenever no test uses it.
func Main(ctx context.Context, m *testing.M) int {
	if _, err := process.acquire(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := process.release(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// New clones the migrated template for a test and drops it at the end.
func New(tb testing.TB) *DB {
	tb.Helper()
	server, err := process.acquire(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := process.release(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	name := fmt.Sprintf("test_%d", process.names.Add(1))
	admin(tb, server, "create database "+name+" template postgres owner postgres")
	tb.Cleanup(func() { admin(tb, server, "drop database if exists "+name+" with (force)") })
	return &DB{
		Name: name, URL: server.URL(name), Superuser: server.ConnString(bootstrap.Superuser, name), PID: server.PID(),
	}
}

// admin runs a statement as superuser, from a database that nobody clones.
func admin(tb testing.TB, server *pg.Server, sql string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), limit)
	defer cancel()
	conn, err := server.Connect(ctx, bootstrap.Superuser, "template1")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// Options are those of every Postgres for tests; the key names what Prepare does.
func Options() (pg.Options, error) {
	key, err := migrationsKey()
	if err != nil {
		return pg.Options{}, err
	}
	return pg.Options{
		Key: key,
		Prepare: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := migrate.Up(ctx, conn)
			return err
		},
		Settings: map[string]string{"max_connections": "300"},
	}, nil
}

// migrationsKey changes whenever a migration does.
func migrationsKey() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(supabase.Migrations, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := supabase.Migrations.ReadFile(path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the migrations: %w", err)
	}
	return "postgrestest-" + hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

func (s *shared) acquire(ctx context.Context) (*pg.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		options, err := Options()
		if err != nil {
			return nil, err
		}
		server, err := pg.Start(ctx, options)
		if err != nil {
			return nil, err
		}
		s.server = server
	}
	s.users++
	return s.server, nil
}

func (s *shared) release(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	if s.users > 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	server := s.server
	s.server = nil
	return server.Stop(ctx)
}
