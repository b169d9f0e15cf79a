package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/server"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/supabase/devstack"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

// Options say what a development cluster starts with.
type Options struct {
	Dir          string   // state folder
	Port         int      // wished port of the server
	SupabasePort int      // wished port of the embedded Supabase
	NoNode       bool     // start no node
	Project      *Project // use this Supabase instead of the embedded one
	Account      Account  // signs in, instead of the development admin of the folder
	// EmbedOrigins are the sites that may ask for tabs, as in STARK_EMBED_ORIGINS; empty
	// is none.
	EmbedOrigins string
	NodeName     string
	Version      string
	Logger       *slog.Logger
	PasswordCost int // of the embedded Supabase, as devstack.Options has it
	// KeptSession gives a sign-in that the user has kept for a server, if any.
	KeptSession func(ctx context.Context, url string) (api.Session, bool, error)
	Report      func(Step) // called once per finished step, from one goroutine at a time
}

// Project is a running Supabase project.
type Project struct {
	URL            string
	DBURL          string
	AnonKey        string
	ServiceRoleKey string
	JWTSecret      string
}

// Step is one finished step of a start.
type Step struct {
	Name    string
	Message string
	Took    time.Duration
	Fields  map[string]any // for machines
}

// The wished ports; those of the Supabase CLI.
const (
	DefaultSupabasePort = 54321
	defaultDBPort       = 54322
)

// Cluster is a running development cluster.
type Cluster struct {
	Project    Project
	URL        string // of the server
	Client     *client.Client
	Session    api.Session
	Email      string
	Password   string
	Node       *Node // nil with NoNode
	FirstStart bool

	o      Options
	stack  *devstack.Stack
	server part
	node   part
	failed chan error // parts that ended by themselves

	reporting sync.Mutex
}

// Start brings everything up and signs in as the development admin. Close ends
// it; ctx bounds only the start.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Report == nil {
		o.Report = func(Step) {}
	}
	c := &Cluster{o: o, failed: make(chan error, 2)}
	if err := c.start(ctx); err != nil {
		closing, stop := context.WithTimeout(context.WithoutCancel(ctx), 40*time.Second)
		defer stop()
		return nil, errors.Join(err, c.Close(closing))
	}
	return c, nil
}

// start runs what does not depend on each other at the same time: the hosts of
// Node.js warm up while Postgres starts.
func (c *Cluster) start(ctx context.Context) error {
	runtime := c.warmRuntime(ctx)
	if err := c.startSupabase(ctx); err != nil {
		return errors.Join(err, c.discard(ctx, runtime))
	}
	if err := c.startServer(ctx); err != nil {
		return errors.Join(err, c.discard(ctx, runtime))
	}
	if err := c.signIn(ctx); err != nil {
		return errors.Join(err, c.discard(ctx, runtime))
	}
	if c.o.NoNode {
		return nil
	}
	return c.startNode(ctx, runtime)
}

type warmed struct {
	exec *nodejs.Executor
	err  error
}

func (c *Cluster) warmRuntime(ctx context.Context) <-chan warmed {
	out := make(chan warmed, 1)
	if c.o.NoNode {
		out <- warmed{}
		return out
	}
	go func() {
		exec, err := NewRuntime(ctx, c.nodeOptions())
		out <- warmed{exec, err}
	}()
	return out
}

func (c *Cluster) nodeOptions() NodeOptions {
	return NodeOptions{
		URL: c.URL, Name: c.o.NodeName, Token: c.Session.AccessToken,
		StateDir: filepath.Join(c.o.Dir, "node"), WarmPool: nodejs.DefaultWarmPool,
		Version: c.o.Version, Logger: c.o.Logger.With(slog.String("part", "node")),
	}
}

// discard ends a runtime that no node will use.
func (c *Cluster) discard(ctx context.Context, runtime <-chan warmed) error {
	w := <-runtime
	if w.exec == nil {
		return nil
	}
	return closeRuntime(ctx, w.exec)
}

func (c *Cluster) startSupabase(ctx context.Context) error {
	if c.o.Project != nil {
		c.Project = *c.o.Project
		return c.migrate(ctx)
	}
	begin := time.Now()
	dbPort := defaultDBPort
	if c.o.SupabasePort != DefaultSupabasePort {
		dbPort = 0
	}
	stack, err := devstack.Start(ctx, devstack.Options{
		Dir: c.o.Dir, Port: c.o.SupabasePort, DBPort: dbPort, Durable: true, PasswordCost: c.o.PasswordCost,
		Logger:  c.o.Logger.With(slog.String("part", "supabase")),
		Prepare: prepare, TemplateKey: migrate.Digest(),
	})
	if err != nil {
		return err
	}
	c.stack, c.FirstStart = stack, stack.FirstStart
	c.Project = Project{
		URL: stack.URL, DBURL: stack.DBURL, AnonKey: stack.AnonKey,
		ServiceRoleKey: stack.ServiceRoleKey, JWTSecret: stack.JWTSecret,
	}
	message := "Postgres, auth and storage on " + stack.URL
	if got := portOf(stack.URL); c.o.SupabasePort != 0 && got != c.o.SupabasePort {
		message += fmt.Sprintf(" (port %d is taken)", c.o.SupabasePort)
	}
	c.report("database", message, begin, map[string]any{"supabaseUrl": stack.URL, "dbUrl": stack.DBURL})
	return c.migrate(ctx)
}

func prepare(ctx context.Context, conn *pgx.Conn) error {
	_, err := migrate.Up(ctx, conn)
	return err
}

// migrate brings the schema up to date: the template of a first start has it
// already, an older state folder or a project may not.
func (c *Cluster) migrate(ctx context.Context) error {
	begin := time.Now()
	conn, err := pgx.Connect(ctx, c.Project.DBURL)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	applied, err := migrate.Up(ctx, conn)
	if err != nil {
		return err
	}
	message := "up to date"
	if len(applied) > 0 {
		message = strconv.Itoa(len(applied)) + " migrations applied"
	}
	c.report("schema", message, begin, map[string]any{"applied": len(applied)})
	return nil
}

func (c *Cluster) startServer(ctx context.Context) error {
	begin := time.Now()
	listener, err := listen(ctx, c.o.Port)
	if err != nil {
		return err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	env := map[string]string{
		"STARK_HOST": "127.0.0.1", "STARK_PORT": strconv.Itoa(port),
		"SUPABASE_URL": c.Project.URL, "SUPABASE_ANON_KEY": c.Project.AnonKey,
		"SUPABASE_SERVICE_ROLE_KEY": c.Project.ServiceRoleKey, "SUPABASE_JWT_SECRET": c.Project.JWTSecret,
		"STARK_DATABASE_URL": c.Project.DBURL,
		// One developer's tools share this machine's address.
		"STARK_RATE_LIMIT_API": "off", "STARK_RATE_LIMIT_AUTH": "off",
		"STARK_EMBED_ORIGINS": c.o.EmbedOrigins,
	}
	cfg, err := server.LoadConfig(func(name string) string { return env[name] })
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	cfg.Version, cfg.Listener = c.o.Version, listener
	s, err := server.New(cfg, c.o.Logger.With(slog.String("part", "server")))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	c.spawn(ctx, &c.server, "server", s.Run)
	select {
	case <-s.Ready():
	case err := <-c.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
	c.URL = s.URL()
	message := c.URL
	if c.o.Port != 0 && port != c.o.Port {
		message += fmt.Sprintf(" (port %d is taken)", c.o.Port)
	}
	c.report("server", message, begin, map[string]any{"apiUrl": c.URL})
	return nil
}

func (c *Cluster) startNode(ctx context.Context, runtime <-chan warmed) error {
	begin := time.Now()
	w := <-runtime
	if w.err != nil {
		return w.err
	}
	node, err := NewNode(ctx, w.exec, c.nodeOptions())
	if err != nil {
		return err
	}
	c.Node = node
	c.spawn(ctx, &c.node, "node", node.Run)
	select {
	case <-node.Registered():
	case err := <-c.failed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the node did not register: %w", ctx.Err())
	}
	c.report("node", c.o.NodeName+", node "+w.exec.Capabilities().Version, begin, map[string]any{"node": c.o.NodeName, "nodeId": node.ID()})
	return nil
}

// part is a piece of the cluster that runs until it is told to stop.
type part struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// spawn runs a part until stop; one that ends before is told through Failed.
func (c *Cluster) spawn(ctx context.Context, p *part, name string, run func(context.Context) error) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		if err := run(work); err != nil {
			c.failed <- fmt.Errorf("%s: %w", name, err)
		}
	}()
}

// stop ends a part and waits for it; one that never ran is fine.
func (p *part) stop() {
	if p.cancel != nil {
		p.cancel()
		<-p.done
	}
}

// Failed gives the error of the first part that ended by itself.
func (c *Cluster) Failed() <-chan error { return c.failed }

func (c *Cluster) report(name, message string, begin time.Time, fields map[string]any) {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	c.o.Report(Step{Name: name, Message: message, Took: time.Since(begin), Fields: fields})
}

// Close stops pods, node, server and the embedded Supabase, in this order, so
// that the node can still tell how its pods ended.
func (c *Cluster) Close(ctx context.Context) error {
	c.node.stop()
	c.server.stop()
	var errs []error
	for len(c.failed) > 0 {
		errs = append(errs, <-c.failed)
	}
	if c.stack != nil {
		errs = append(errs, c.stack.Close(ctx))
	}
	return errors.Join(errs...)
}

// listen opens the wished port, or another one when it is taken or 0.
func listen(ctx context.Context, wished int) (net.Listener, error) {
	var lc net.ListenConfig
	for _, port := range []int{wished, 0} {
		if l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return l, nil
		}
	}
	return nil, errors.New("no free port on 127.0.0.1")
}
