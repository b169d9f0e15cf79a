// Package devstack is a Supabase for development and tests, without Docker: a real Postgres with
// Supabase's roles and schemas, an auth and a storage service that answer as GoTrue and Storage do, and
// one gateway. It listens on loopback only and its keys are worth nothing elsewhere.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stark-orchestrator/stark/supabase"
	"github.com/stark-orchestrator/stark/supabase/devstack/auth"
	"github.com/stark-orchestrator/stark/supabase/devstack/gateway"
	"github.com/stark-orchestrator/stark/supabase/devstack/keys"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
	"github.com/stark-orchestrator/stark/supabase/devstack/rest"
	"github.com/stark-orchestrator/stark/supabase/devstack/storage"
)

// Options say where a stack keeps its state and how it runs.
type Options struct {
	// Dir is the state folder: database, objects, keys. It is locked while the stack runs.
	Dir string
	// Port and DBPort are the wished ports of gateway and database; 0 lets the kernel choose. A taken one
	// is replaced, unless ExactPorts is set.
	Port, DBPort int
	ExactPorts   bool
	Logger       *slog.Logger
	// Prepare runs once on a new database as role postgres, such as migrate.Up; its outcome becomes part
	// of a template that TemplateKey names.
	Prepare     func(ctx context.Context, conn *pgx.Conn) error
	TemplateKey string
	// Durable keeps fsync on: nothing is lost even when the machine stops.
	Durable bool
	// PasswordCost is bcrypt's, from LeastPasswordCost to 31; 0 takes GoTrue's, 10. Each step doubles the
	// time that a sign-in takes. Where the passwords guard nothing, as in tests, the least will do.
	PasswordCost int
	// Config is a config.toml of the Supabase CLI; nil means the project's own. An empty one has no hook
	// and no buckets.
	Config []byte
}

// LeastPasswordCost is the lowest cost at which bcrypt hashes.
const LeastPasswordCost = auth.LeastPasswordCost

// Stack is a running stack.
type Stack struct {
	URL            string // of the gateway, such as http://127.0.0.1:54321
	DBURL          string // of the database, as role postgres
	AnonKey        string
	ServiceRoleKey string
	PublishableKey string
	SecretKey      string
	JWTSecret      string
	FirstStart     bool
	// Postgres is the database server.
	Postgres *pg.Server

	server  *http.Server
	pools   []*pgxpool.Pool
	serving sync.WaitGroup
	cancel  context.CancelFunc
	close   sync.Once
	closed  error
}

const (
	headerLimit   = 10 * time.Second
	transferLimit = 15 * time.Minute // of one request or answer, uploads included
	idleLimit     = 2 * time.Minute
	poolSize      = 12
)

// Start brings the stack up. It goes on when ctx ends, until Close. A second start on the same folder
// fails with a pg.LockedError that names the holder.
func Start(ctx context.Context, o Options) (*Stack, error) {
	s := &Stack{}
	if err := s.start(ctx, o); err != nil {
		// ctx may be the reason; what was started has to end all the same.
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("start the local Supabase: %w", err), s.Close(stop))
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, o Options) error {
	if o.Dir == "" {
		return errors.New("the state folder is not named")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Config == nil {
		o.Config = supabase.Config
	}
	config, err := parseConfig(o.Config)
	if err != nil {
		return err
	}
	// Postgres takes the lock of the folder, so it comes before anything that writes there.
	s.Postgres, err = pg.Start(ctx, pg.Options{
		Dir: o.Dir, Port: o.DBPort, ExactPort: o.ExactPorts, Durable: o.Durable,
		Prepare: o.Prepare, Key: o.TemplateKey, Logger: o.Logger, Restart: true,
	})
	if err != nil {
		return err
	}
	s.FirstStart, s.DBURL = s.Postgres.FirstStart, s.Postgres.URL("postgres")
	set, err := s.loadKeys(o.Dir)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, o.Port, o.ExactPorts)
	if err != nil {
		return err
	}
	s.URL = "http://" + listener.Addr().String()
	handler, err := s.services(ctx, o, config, set)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.serve(ctx, listener, handler, o.Logger)
	return nil
}

// loadKeys also keeps the folder, which holds secrets, out of version control.
func (s *Stack) loadKeys(dir string) (*keys.Set, error) {
	set, err := keys.Load(dir)
	if err != nil {
		return nil, err
	}
	s.AnonKey, s.ServiceRoleKey = set.AnonKey, set.ServiceRoleKey
	s.PublishableKey, s.SecretKey, s.JWTSecret = set.PublishableKey, set.SecretKey, set.JWTSecret
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write .gitignore: %w", err)
	}
	return set, nil
}

// services builds auth and storage, each on a pool of the role that it has on Supabase.
func (s *Stack) services(ctx context.Context, o Options, config project, set *keys.Set) (http.Handler, error) {
	authConfig, err := config.authConfig()
	if err != nil {
		return nil, err
	}
	if authConfig.Pool, err = s.pool(ctx, "supabase_auth_admin"); err != nil {
		return nil, err
	}
	authConfig.Keys, authConfig.Issuer, authConfig.Logger = set, s.URL+"/auth/v1", o.Logger
	if o.PasswordCost != 0 {
		authConfig.PasswordCost = o.PasswordCost
	}
	users, err := auth.New(authConfig)
	if err != nil {
		return nil, err
	}
	storagePool, err := s.pool(ctx, "supabase_storage_admin")
	if err != nil {
		return nil, err
	}
	if err := declareBuckets(ctx, storagePool, config.Storage.Buckets); err != nil {
		return nil, err
	}
	var maxBytes int64
	if config.Storage.FileSizeLimit != "" {
		if maxBytes, err = size(config.Storage.FileSizeLimit); err != nil {
			return nil, err
		}
	}
	//nolint:contextcheck // requests bring their own context; New keeps none
	objects, err := storage.New(storage.Config{
		Pool: storagePool, Dir: filepath.Join(o.Dir, "objects"), Verify: set.Verify, Sign: set.SignLegacy,
		MaxBytes: maxBytes, Durable: o.Durable, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	tables, err := s.tables(ctx, o, config, set)
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Config{Auth: users, Storage: objects, Rest: tables, Keys: set}), nil
}

// tables builds the interface to tables and functions, or nothing where config.toml switches it off.
func (s *Stack) tables(ctx context.Context, o Options, config project, set *keys.Set) (http.Handler, error) {
	c, off := config.restConfig()
	if off {
		return nil, nil
	}
	pool, err := s.pool(ctx, "authenticator")
	if err != nil {
		return nil, err
	}
	c.Pool, c.Verify, c.Logger = pool, set.Verify, o.Logger
	return rest.New(c)
}

func (s *Stack) pool(ctx context.Context, role string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(s.Postgres.ConnString(role, "postgres"))
	if err != nil {
		return nil, fmt.Errorf("configure a pool: %w", err)
	}
	config.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open a pool: %w", err)
	}
	s.pools = append(s.pools, pool)
	return pool, nil
}

// declareBuckets adds the buckets of config.toml. Those that exist keep their settings.
func declareBuckets(ctx context.Context, pool *pgxpool.Pool, buckets map[string]bucket) error {
	for name, b := range buckets {
		var limit *int64
		if b.FileSizeLimit != "" {
			n, err := size(b.FileSizeLimit)
			if err != nil {
				return err
			}
			limit = &n
		}
		_, err := pool.Exec(ctx, `
			insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
			values ($1, $1, $2, $3, $4) on conflict do nothing`, name, b.Public, limit, b.AllowedMimeTypes)
		if err != nil {
			return fmt.Errorf("declare bucket %s: %w", name, err)
		}
	}
	return nil
}

// listen takes the wished port on loopback, or another one.
func listen(ctx context.Context, port int, exact bool) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil && port != 0 && !exact {
		listener, err = config.Listen(ctx, "tcp4", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("open the gateway's port: %w", err)
	}
	return listener, nil
}

func (s *Stack) serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.server = &http.Server{
		Handler: handler, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: headerLimit, ReadTimeout: transferLimit, WriteTimeout: transferLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: 64 << 10,
	}
	s.serving.Go(func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.ErrorContext(base, "gateway ended", slog.Any("error", err))
		}
	})
}

// Done is closed when Postgres has ended for good: by Close, or by itself so often that it was not started
// again. A Postgres that is killed once comes back on the same port.
func (s *Stack) Done() <-chan struct{} { return s.Postgres.Done() }

// Close ends requests, services and Postgres, and gives the folder free. Requests under way may finish
// until ctx ends. Further calls wait for the first and return what it returned.
func (s *Stack) Close(ctx context.Context) error {
	s.close.Do(func() { s.closed = s.shutdown(ctx) })
	return s.closed
}

func (s *Stack) shutdown(ctx context.Context) error {
	var errs []error
	if s.server != nil {
		graceful, cancel := context.WithTimeout(ctx, 5*time.Second)
		if s.server.Shutdown(graceful) != nil {
			s.cancel()
			errs = append(errs, s.server.Close())
		}
		cancel()
		s.cancel()
		s.serving.Wait()
	}
	for _, pool := range s.pools {
		pool.Close()
	}
	if s.Postgres != nil {
		errs = append(errs, s.Postgres.Stop(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the local Supabase: %w", err)
	}
	return nil
}
