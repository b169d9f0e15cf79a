// Package harness starts real Stark clusters for the end-to-end tests and for
// the benchmarks: the embedded stack in this process, and the server, the agents
// and the command line as processes of the one binary that users run.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/supabase/devstack"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

// Build builds the stark binary into dir and gives its path.
func Build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "stark")
	args := []string{"build", "-o", path}
	if coverDir() != "" {
		args = append(args, "-cover", "-covermode=atomic", "-coverpkg=github.com/stark-orchestrator/stark/...")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/stark-orchestrator/stark/cli/cmd/stark")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// Admin signs in as the first admin of every cluster.
const (
	AdminEmail    = "admin@example.com"
	AdminPassword = "Correct-Horse-9"
)

// Options says what a cluster starts with.
type Options struct {
	Stark     string   // path of the binary
	Dir       string   // everything of the cluster lives below it
	Durable   bool     // commits reach the disk, as in production
	ServerEnv []string // further settings of the server
	LogLevel  string   // of servers and agents; info when ""
}

// Cluster is the stack and a server; agents are added as needed.
type Cluster struct {
	Stark   string
	Dir     string
	URL     string // of the server
	Stack   *devstack.Stack
	Server  *Process
	Client  *client.Client // signed in as the admin
	Session api.Session

	serverEnv []string
	agents    []*Process
	servers   []*Process
	secrets   map[string]string // by what they are
	logLevel  string
}

// Secrets are what must stand in no output, by what they are: the keys of the project,
// the tokens of the admin and those that the agents join by. The password of the local
// stack's database is the word postgres, as with Supabase.
func (c *Cluster) Secrets() map[string]string { return c.secrets }

// Outputs are what the servers and agents of the cluster have written so far, also
// those that have ended.
func (c *Cluster) Outputs() []string {
	var all []string
	for _, p := range append(append([]*Process{}, c.servers...), c.agents...) {
		all = append(all, p.Output())
	}
	return all
}

// Start brings up the stack and a server, and makes the first admin.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{Stark: o.Stark, Dir: o.Dir, logLevel: o.LogLevel, secrets: map[string]string{}}
	var err error
	c.Stack, err = devstack.Start(ctx, devstack.Options{
		Dir:         filepath.Join(o.Dir, "stack"),
		Logger:      slog.New(slog.DiscardHandler),
		Prepare:     prepare,
		TemplateKey: migrate.Digest(),
		Durable:     o.Durable,
	})
	if err != nil {
		return nil, fmt.Errorf("start the stack: %w", err)
	}
	c.secrets["the service key"], c.secrets["the JWT secret"] = c.Stack.ServiceRoleKey, c.Stack.JWTSecret
	port, err := freePort(ctx)
	if err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	c.URL = "http://127.0.0.1:" + strconv.Itoa(port)
	c.serverEnv = append([]string{
		"STARK_HOST=127.0.0.1", "STARK_PORT=" + strconv.Itoa(port),
		"STARK_RATE_LIMIT_API=off", "STARK_RATE_LIMIT_AUTH=off",
		"SUPABASE_URL=" + c.Stack.URL, "SUPABASE_ANON_KEY=" + c.Stack.AnonKey,
		"SUPABASE_SERVICE_ROLE_KEY=" + c.Stack.ServiceRoleKey, "SUPABASE_JWT_SECRET=" + c.Stack.JWTSecret,
		"STARK_DATABASE_URL=" + c.Stack.DBURL,
	}, o.ServerEnv...)
	if err := c.StartServer(ctx); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	if err := c.setup(ctx); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	c.secrets["the admin's access token"], c.secrets["the admin's refresh token"] = c.Session.AccessToken, c.Session.RefreshToken
	return c, nil
}

func prepare(ctx context.Context, conn *pgx.Conn) error {
	_, err := migrate.Up(ctx, conn)
	return err
}

// StartServer starts the server and waits until it is ready.
func (c *Cluster) StartServer(ctx context.Context) error {
	var err error
	c.Server, err = Launch(Spec{Name: "server", Path: c.Stark, Args: []string{"server", "start"}, Env: c.env(c.serverEnv...), Dir: c.Dir})
	if err != nil {
		return err
	}
	c.servers = append(c.servers, c.Server)
	return c.WaitReady(ctx)
}

// WaitReady waits until the server answers /ready.
func (c *Cluster) WaitReady(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready(ctx, c.URL) {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.Server.Done():
			return fmt.Errorf("the server ended: %w", c.Server.exit())
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready\n%s", c.Server.Output())
		}
	}
}

func ready(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ready", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (c *Cluster) setup(ctx context.Context) error {
	anonymous, err := client.New(client.Config{URL: c.URL})
	if err != nil {
		return err
	}
	c.Session, err = anonymous.Setup(ctx, api.RegisterRequest{Email: AdminEmail, Password: AdminPassword, DisplayName: "Admin"})
	if err != nil {
		return fmt.Errorf("make the first admin: %w\n%s", err, c.Server.Output())
	}
	c.Client, err = c.As(c.Session)
	return err
}

// As gives a client that speaks for a session.
func (c *Cluster) As(s api.Session) (*client.Client, error) {
	return client.New(client.Config{URL: c.URL, Token: client.StaticToken(s.AccessToken)})
}

// User makes a user with a role and signs them in.
func (c *Cluster) User(ctx context.Context, email string, roles ...api.Role) (*client.Client, api.Session, error) {
	if _, err := c.Client.CreateUser(ctx, api.CreateUserRequest{Email: email, Password: AdminPassword, Roles: roles}); err != nil {
		return nil, api.Session{}, err
	}
	session, err := c.Client.Login(ctx, api.LoginRequest{Email: email, Password: AdminPassword})
	if err != nil {
		return nil, api.Session{}, err
	}
	cl, err := c.As(session)
	return cl, session, err
}

// env gives a process of this cluster a state folder of its own.
func (c *Cluster) env(more ...string) []string {
	all := []string{"STARK_HOME=" + filepath.Join(c.Dir, "home"), "NO_COLOR=1"}
	if c.logLevel != "" {
		all = append(all, "STARK_LOG_LEVEL="+c.logLevel)
	}
	return append(all, more...)
}

// Agent starts a node agent; args are further flags. The agent keeps its state
// below the cluster's folder under its name, so that a second start of the same
// name is the same node.
func (c *Cluster) Agent(ctx context.Context, name string, args ...string) (*Process, error) {
	token, err := c.Client.CreateJoinToken(ctx, api.CreateJoinTokenRequest{})
	if err != nil {
		return nil, err
	}
	c.secrets["the join token of "+name] = token.Token
	args = append([]string{
		"node", "agent", "start", "--url", c.URL, "--name", name,
		"--state-dir", filepath.Join(c.Dir, "agent-"+name),
	}, args...)
	p, err := Launch(Spec{Name: "agent " + name, Path: c.Stark, Args: args, Env: c.env("STARK_JOIN_TOKEN=" + token.Token), Dir: c.Dir})
	if err == nil {
		c.agents = append(c.agents, p)
	}
	return p, err
}

// CLI runs a stark command against the cluster as the user whose credentials
// are in the cluster's home.
func (c *Cluster) CLI(ctx context.Context, stdin string, args ...string) (Result, error) {
	ctx, stop := context.WithTimeout(ctx, 60*time.Second)
	defer stop()
	return Run(ctx, Spec{Name: "stark", Path: c.Stark, Args: append([]string{"--api-url", c.URL}, args...), Env: c.env(), Dir: c.Dir}, stdin)
}

// Close ends everything that the cluster started.
func (c *Cluster) Close(ctx context.Context) error {
	var errs []error
	for _, a := range c.agents {
		errs = append(errs, stopped(a, 20*time.Second))
	}
	if c.Server != nil {
		errs = append(errs, stopped(c.Server, 20*time.Second))
	}
	if c.Stack != nil {
		errs = append(errs, c.Stack.Close(ctx))
	}
	return errors.Join(errs...)
}

// stopped ends a process; one that a test has already killed is fine.
func stopped(p *Process, limit time.Duration) error {
	select {
	case <-p.Done():
		return nil
	default:
		return p.Stop(limit)
	}
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
