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
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/supabase/devstack"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

// Build builds the stark binary into dir and gives its path.
func Build(ctx context.Context, dir string) (string, error) {
	return build(ctx, dir, "stark", "cli/cmd/stark")
}

// BuildServer builds the program that is a server and nothing else.
func BuildServer(ctx context.Context, dir string) (string, error) {
	return build(ctx, dir, "stark-server", "server/cmd/stark-server")
}

// BuildSkewed builds the binary whose clock is wrong by what SKEWED_BY says. There is
// one for Linux on amd64 only.
func BuildSkewed(ctx context.Context, dir string) (string, error) {
	return build(ctx, dir, "skewed", "tests/cmd/skewed")
}

func build(ctx context.Context, dir, name, from string) (string, error) {
	path := filepath.Join(dir, name)
	args := []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path} // as `make build` does
	if coverDir() != "" {
		args = append(args, "-cover", "-covermode=atomic", "-coverpkg=github.com/stark-orchestrator/stark/...")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/stark-orchestrator/stark/"+from)...)
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
	Servers   int      // more than one stand behind a balancer, and so does one that is asked for by 1

	// Storage gives the address by which nodes reach the bundles of the project that is
	// at url: a relay, for instance. They reach it there if nil.
	Storage func(url string) (string, error)

	// Database gives the address by which servers reach the database that is at url: a
	// relay, for instance. They reach it there if nil.
	Database func(url string) (string, error)
}

// Server is one server of a cluster, which may be started again after its end.
type Server struct {
	*Process
	URL   string // past the balancer
	stark string // the binary
	env   []string
}

// Cluster is the stack and its servers; agents are added as needed.
type Cluster struct {
	Stark    string
	Dir      string
	URL      string // of the server, or of the balancer
	Stack    *devstack.Stack
	Server   *Process  // the only one, or the first
	Servers  []*Server // behind the balancer
	Balancer *Balancer
	Client   *client.Client // signed in as the admin
	Session  api.Session

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
		// Under the race detector GoTrue's cost keeps a core busy for seconds.
		PasswordCost: devstack.LeastPasswordCost,
	})
	if err != nil {
		return nil, fmt.Errorf("start the stack: %w", err)
	}
	c.secrets["the service key"], c.secrets["the JWT secret"] = c.Stack.ServiceRoleKey, c.Stack.JWTSecret
	database := c.Stack.DBURL
	if o.Database != nil {
		if database, err = o.Database(database); err != nil {
			return nil, errors.Join(err, c.Close(ctx))
		}
	}
	c.serverEnv = append([]string{
		"STARK_HOST=127.0.0.1",
		"STARK_RATE_LIMIT_API=off", "STARK_RATE_LIMIT_AUTH=off",
		"SUPABASE_URL=" + c.Stack.URL, "SUPABASE_ANON_KEY=" + c.Stack.AnonKey,
		"SUPABASE_SERVICE_ROLE_KEY=" + c.Stack.ServiceRoleKey, "SUPABASE_JWT_SECRET=" + c.Stack.JWTSecret,
		"STARK_DATABASE_URL=" + database,
	}, o.ServerEnv...)
	if o.Storage != nil {
		public, err := o.Storage(c.Stack.URL)
		if err != nil {
			return nil, errors.Join(err, c.Close(ctx))
		}
		c.serverEnv = append(c.serverEnv, "STARK_SUPABASE_PUBLIC_URL="+public)
	}
	if err := c.begin(ctx, o.Servers); err != nil {
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

// begin starts the servers: one by itself, or several behind a balancer.
func (c *Cluster) begin(ctx context.Context, servers int) error {
	if servers == 0 {
		port, err := FreePort(ctx)
		if err != nil {
			return err
		}
		c.URL = "http://127.0.0.1:" + strconv.Itoa(port)
		c.serverEnv = append(c.serverEnv, "STARK_PORT="+strconv.Itoa(port))
		return c.StartServer(ctx)
	}
	var err error
	if c.Balancer, err = newBalancer(ctx); err != nil {
		return err
	}
	c.URL = c.Balancer.URL()
	for range servers {
		if _, err := c.AddServer(ctx); err != nil {
			return err
		}
	}
	c.Server = c.Servers[0].Process
	return nil
}

// AddServer starts one more server behind the balancer and waits until it is ready;
// env is added to the settings that all have.
func (c *Cluster) AddServer(ctx context.Context, env ...string) (*Server, error) {
	return c.AddServerOf(ctx, c.Stark, env...)
}

// AddServerOf is AddServer with another binary than the cluster's.
func (c *Cluster) AddServerOf(ctx context.Context, stark string, env ...string) (*Server, error) {
	port, err := FreePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{URL: "http://127.0.0.1:" + strconv.Itoa(port), stark: stark}
	s.env = append(append(append(s.env, c.serverEnv...), "STARK_PORT="+strconv.Itoa(port)), env...)
	c.Servers = append(c.Servers, s)
	if err := c.Restart(ctx, s); err != nil {
		return s, err
	}
	c.Balancer.add(s.URL)
	return s, nil
}

// Restart starts a server that has ended, with the port and the settings that it had.
func (c *Cluster) Restart(ctx context.Context, s *Server) error {
	var err error
	if s.Process, err = c.launch(s.stark, s.URL, s.env); err != nil {
		return err
	}
	return c.waitReady(ctx, s.Process, s.URL)
}

// Leaders are the servers that say that they lead: one, or none for a moment.
func (c *Cluster) Leaders(ctx context.Context) []*Server {
	ctx, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	var all []*Server
	for _, s := range c.Servers {
		cl, err := client.New(client.Config{URL: s.URL, Token: client.StaticToken(c.Session.AccessToken)})
		if err != nil {
			continue
		}
		if status, err := cl.ClusterStatus(ctx); err == nil && status.Leader {
			all = append(all, s)
		}
	}
	return all
}

func (c *Cluster) launch(stark, name string, env []string) (*Process, error) {
	p, err := Launch(Spec{Name: "server " + name, Path: stark, Args: []string{"server", "start"}, Env: c.env(env...), Dir: c.Dir})
	if err == nil {
		c.servers = append(c.servers, p)
	}
	return p, err
}

// StartServer starts the only server and waits until it is ready.
func (c *Cluster) StartServer(ctx context.Context) error {
	var err error
	if c.Server, err = c.launch(c.Stark, c.URL, c.serverEnv); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}

// WaitReady waits until the server answers /ready.
func (c *Cluster) WaitReady(ctx context.Context) error { return c.waitReady(ctx, c.Server, c.URL) }

func (c *Cluster) waitReady(ctx context.Context, p *Process, url string) error {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers(ctx, http.DefaultClient, url+"/ready") {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return fmt.Errorf("the server ended: %w", p.exit())
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready\n%s", p.Output())
		}
	}
}

// answers reports whether a GET is answered by 200.
func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
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
	return c.AgentAt(ctx, c.URL, name, args...)
}

// AgentAt is Agent for one that reaches the servers at another address, past the
// balancer or through a relay.
func (c *Cluster) AgentAt(ctx context.Context, url, name string, args ...string) (*Process, error) {
	return c.AgentUnder(ctx, nil, url, name, args...)
}

// AgentUnder is AgentAt for one that another program starts, such as "ip netns exec"
// with its name.
func (c *Cluster) AgentUnder(ctx context.Context, under []string, url, name string, args ...string) (*Process, error) {
	token, err := c.Client.CreateJoinToken(ctx, api.CreateJoinTokenRequest{})
	if err != nil {
		return nil, err
	}
	c.secrets["the join token of "+name] = token.Token
	args = append([]string{
		"node", "agent", "start", "--url", url, "--name", name,
		"--state-dir", filepath.Join(c.Dir, "agent-"+name),
	}, args...)
	line := append(append([]string{}, under...), append([]string{c.Stark}, args...)...)
	p, err := Launch(Spec{Name: "agent " + name, Path: line[0], Args: line[1:], Env: c.env("STARK_JOIN_TOKEN=" + token.Token), Dir: c.Dir})
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
	var wg sync.WaitGroup
	ended := make([]error, len(c.agents))
	for i, a := range c.agents {
		wg.Go(func() { ended[i] = stopped(a, 20*time.Second) })
	}
	wg.Wait()
	errs = append(errs, ended...)
	for _, s := range c.servers {
		errs = append(errs, stopped(s, 20*time.Second))
	}
	if c.Balancer != nil {
		errs = append(errs, c.Balancer.close())
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

// FreePort gives a port of the loopback that nobody listens at now.
func FreePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
