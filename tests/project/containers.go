//go:build containers

package project

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/stark-orchestrator/stark/supabase/devstack/bootstrap"
	"github.com/stark-orchestrator/stark/supabase/devstack/gateway"
	"github.com/stark-orchestrator/stark/supabase/devstack/keys"
)

const (
	databasePort = "5432/tcp"
	authPort     = "9999/tcp"
	storagePort  = "5000/tcp"
	restPort     = "3000/tcp"
	password     = "postgres"
	headerLimit  = 10 * time.Second
	pollEvery    = 250 * time.Millisecond
)

// containers is one set of Supabase's services behind a gateway in this process.
type containers struct {
	net     *testcontainers.DockerNetwork
	running []testcontainers.Container
	server  *http.Server
	dir     string // of the keys
}

// fallback runs Supabase's own images where the environment names nothing.
func fallback(ctx context.Context) (*Project, error) {
	if err := Available(ctx, Images...); err != nil {
		return nil, err
	}
	c := &containers{}
	p, err := c.start(ctx)
	if err != nil {
		return nil, errors.Join(err, c.close(ctx))
	}
	p.close = c.close
	return p, p.migrate(ctx)
}

func (c *containers) start(ctx context.Context) (*Project, error) {
	var err error
	if c.dir, err = os.MkdirTemp("", "stark-containers-"); err != nil {
		return nil, err
	}
	set, err := keys.Load(c.dir)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Project{
		URL: "http://" + listener.Addr().String(), AnonKey: set.AnonKey, ServiceRoleKey: set.ServiceRoleKey, JWTSecret: set.JWTSecret,
		PublishableKey: set.AnonKey, SecretKey: set.ServiceRoleKey, sign: set.Sign,
	}
	if err := c.services(ctx, p, set, listener); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return p, nil
}

// services starts them in the order in which they make their tables.
func (c *containers) services(ctx context.Context, p *Project, set *keys.Set, listener net.Listener) error {
	var err error
	if c.net, err = network.New(ctx); err != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	address, err := c.run(ctx, "db", ImagePostgres, databasePort, "", map[string]string{"POSTGRES_PASSWORD": password, "POSTGRES_HOST": "/var/run/postgresql"})
	if err != nil {
		return err
	}
	p.DBURL = databaseURL(address, "postgres")
	if err := passwords(ctx, address); err != nil {
		return err
	}
	auth, err := c.run(ctx, "auth", ImageAuth, authPort, "/health", authEnv(p))
	if err != nil {
		return err
	}
	rest, err := c.run(ctx, "rest", ImageRest, restPort, "", restEnv(p))
	if err != nil {
		return err
	}
	storage, err := c.run(ctx, "storage", ImageStorage, storagePort, "/status", storageEnv(p))
	if err != nil {
		return err
	}
	c.server = &http.Server{ReadHeaderTimeout: headerLimit, Handler: gateway.New(gateway.Config{
		Auth: proxy(auth), Storage: proxy(storage), Rest: proxy(rest), Keys: set,
	})}
	go func() { _ = c.server.Serve(listener) }() // it ends with close
	return nil
}

// run starts an image and gives host:port of its service.
func (c *containers) run(ctx context.Context, name, image, port, health string, env map[string]string) (string, error) {
	ready := wait.Strategy(wait.ForListeningPort(port))
	if health != "" {
		ready = wait.ForHTTP(health).WithPort(port)
	}
	one, err := testcontainers.Run(ctx, image, testcontainers.WithExposedPorts(port), testcontainers.WithEnv(env),
		network.WithNetwork([]string{name}, c.net), testcontainers.WithWaitStrategyAndDeadline(startLimit, ready))
	if one != nil {
		c.running = append(c.running, one)
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w", image, err)
	}
	host, err := one.Host(ctx)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", image, err)
	}
	mapped, err := one.MappedPort(ctx, port)
	if err != nil {
		return "", fmt.Errorf("find the port of %s: %w", image, err)
	}
	return net.JoinHostPort(host, mapped.Port()), nil
}

func (c *containers) close(ctx context.Context) error {
	var errs []error
	if c.server != nil {
		errs = append(errs, c.server.Close())
	}
	for _, one := range slices.Backward(c.running) {
		errs = append(errs, testcontainers.TerminateContainer(one))
	}
	if c.net != nil {
		errs = append(errs, c.net.Remove(ctx))
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

func databaseURL(address, user string) string {
	return "postgresql://" + user + ":" + password + "@" + address + "/postgres?sslmode=disable&connect_timeout=5"
}

// passwords gives the roles of the services the password of the superuser, as the
// project for hosting Supabase oneself does. While the image initializes itself it
// takes no connections.
func passwords(ctx context.Context, address string) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, databaseURL(address, bootstrap.Superuser))
		if err == nil {
			_, err = conn.Exec(ctx, `alter user authenticator with password '`+password+`';
				alter user supabase_auth_admin with password '`+password+`';
				alter user supabase_storage_admin with password '`+password+`'`)
			return errors.Join(err, conn.Close(ctx))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the database of %s does not come up: %w", ImagePostgres, err)
		}
	}
}

func proxy(address string) http.Handler {
	return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
}

func authEnv(p *Project) map[string]string {
	return map[string]string{
		"GOTRUE_API_HOST": "0.0.0.0", "GOTRUE_API_PORT": "9999", "API_EXTERNAL_URL": p.URL + "/auth/v1",
		"GOTRUE_DB_DRIVER": "postgres", "GOTRUE_DB_DATABASE_URL": databaseURL("db:5432", "supabase_auth_admin"),
		"GOTRUE_SITE_URL": "http://127.0.0.1:8480", "GOTRUE_DISABLE_SIGNUP": "false",
		"GOTRUE_JWT_ADMIN_ROLES": "service_role", "GOTRUE_JWT_AUD": "authenticated", "GOTRUE_JWT_DEFAULT_GROUP_NAME": "authenticated",
		"GOTRUE_JWT_EXP": "3600", "GOTRUE_JWT_SECRET": p.JWTSecret, "GOTRUE_JWT_ISSUER": p.URL + "/auth/v1",
		"GOTRUE_EXTERNAL_EMAIL_ENABLED": "true", "GOTRUE_MAILER_AUTOCONFIRM": "true", "GOTRUE_PASSWORD_MIN_LENGTH": "8",
		"GOTRUE_PASSWORD_REQUIRED_CHARACTERS":            "abcdefghijklmnopqrstuvwxyz:ABCDEFGHIJKLMNOPQRSTUVWXYZ:0123456789",
		"GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL":   "10",
		"GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED": "true",
		"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_ENABLED":        "true",
		"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI":            "pg-functions://postgres/stark/custom_access_token_hook",
	}
}

func restEnv(p *Project) map[string]string {
	return map[string]string{
		"PGRST_DB_URI": databaseURL("db:5432", "authenticator"), "PGRST_DB_SCHEMAS": "public", "PGRST_DB_ANON_ROLE": "anon",
		"PGRST_DB_MAX_ROWS": "1000", "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions", "PGRST_JWT_SECRET": p.JWTSecret, "PGRST_DB_USE_LEGACY_GUCS": "false",
	}
}

func storageEnv(p *Project) map[string]string {
	return map[string]string{
		"ANON_KEY": p.AnonKey, "SERVICE_KEY": p.ServiceRoleKey, "POSTGREST_URL": "http://rest:3000", "PGRST_JWT_SECRET": p.JWTSecret,
		"DATABASE_URL": databaseURL("db:5432", "supabase_storage_admin"), "STORAGE_PUBLIC_URL": p.URL, "REQUEST_ALLOW_X_FORWARDED_PATH": "true",
		"FILE_SIZE_LIMIT": "52428800", "STORAGE_BACKEND": "file", "FILE_STORAGE_BACKEND_PATH": "/var/lib/storage",
		"GLOBAL_S3_BUCKET": "stub", "TENANT_ID": "stub", "REGION": "stub", "ENABLE_IMAGE_TRANSFORMATION": "false",
	}
}
