package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/control"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/relay"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/server/rest/auth"
	"github.com/stark-orchestrator/stark/server/storage"
	"github.com/stark-orchestrator/stark/server/tab"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	greetRetry     = 5 * time.Second
)

// Server is one control-plane process. Any number of them may run over one database.
type Server struct {
	config Config
	log    *slog.Logger
	ready  chan struct{}
	url    atomic.Pointer[string]
	why    atomic.Pointer[string] // why it takes no traffic; nil when it does

	starting *string // the first value of why

	// made by Run
	db         *postgres.DB
	store      *store.Store
	gate       *auth.Gate
	dispatcher *dispatch.Dispatcher
	relay      *relay.Relay
	http       *http.Server
	stopping   chan struct{} // closed when traffic is to end
}

// New checks what can be checked without the network. Run does the rest.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	if log == nil {
		return nil, errors.New("the server needs a logger")
	}
	if cfg.SupabaseURL == "" || cfg.DatabaseURL == "" {
		return nil, errors.New("the server needs the URLs of Supabase and of its database")
	}
	if cfg.SetupCode == "" {
		cfg.SetupCode = rand.Text()
	}
	s := &Server{config: cfg, log: log, ready: make(chan struct{}), store: store.New()}
	s.starting = new("the server is starting")
	s.why.Store(s.starting)
	return s, nil
}

func (s *Server) notReady(why string) { s.why.Store(&why) }

// URL is where the server listens; "" until Ready.
func (s *Server) URL() string {
	if u := s.url.Load(); u != nil {
		return *u
	}
	return ""
}

// Ready is closed when the server listens and has read the database.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends, whose end is no error, or until a part fails. It
// stops in order: the leader's lease given back, no new traffic, sockets handed over
// and closed as going away, requests drained, the database let go.
func (s *Server) Run(ctx context.Context) error {
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	listener := s.config.Listener
	if listener == nil {
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.config.Address()); err != nil {
			return fmt.Errorf("listen on %s: %w", s.config.Address(), err)
		}
	}
	defer func() { _ = listener.Close() }() // the http server has closed it in most cases
	if err := s.assemble(base); err != nil {
		return err
	}
	defer s.db.Close()
	s.url.Store(new("http://" + listener.Addr().String()))
	return s.serve(ctx, base, cancel, listener)
}

// assemble makes the parts and starts none of them.
func (s *Server) assemble(base context.Context) error {
	c := s.config
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	s.stopping = make(chan struct{})
	s.db, err = postgres.Open(base, postgres.Config{
		URL: c.DatabaseURL, ListenURL: c.ListenDatabaseURL, PoolSize: int32(c.DatabasePoolSize), //nolint:gosec // bounded by LoadConfig
		Logger: s.log, OnStale: s.store.SetStale, OnEnded: s.onEnded, Store: s.store, Metrics: registry,
	})
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	handler, err := s.handler(base, registry)
	if err != nil {
		s.db.Close()
		return err
	}
	s.http = &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return nil
}

func (s *Server) handler(base context.Context, registry *prometheus.Registry) (http.Handler, error) {
	c := s.config
	verifier, err := auth.New(base, auth.Config{
		JWKSURL: c.SupabaseURL + "/auth/v1/.well-known/jwks.json", Issuer: c.JWTIssuer,
		Audience: c.JWTAudience, Secret: c.JWTSecret, Logger: s.log, Now: s.db.Time,
	})
	if err != nil {
		return nil, fmt.Errorf("verify tokens: %w", err)
	}
	if s.gate, err = auth.NewGate(verifier, s.db, s.store.Stale, s.log); err != nil {
		return nil, fmt.Errorf("check sessions: %w", err)
	}
	identity, err := gotrue.New(c.SupabaseURL, c.AnonKey, c.ServiceKey)
	if err != nil {
		return nil, fmt.Errorf("reach Supabase Auth: %w", err)
	}
	store, err := storage.New(c.SupabaseURL, c.AnonKey, c.ServiceKey)
	if err != nil {
		return nil, fmt.Errorf("reach Supabase Storage: %w", err)
	}
	bundles := publicBundles{Client: store, inner: c.SupabaseURL, outer: c.SupabasePublicURL}
	s.dispatcher = dispatch.New(dispatch.Deps{
		DB: dispatchDB{s.db}, Log: s.db, Store: s.store, Verifier: s.gate, Metrics: registry, Logger: s.log,
		Signer: bundles, Now: s.db.Time,
		Config: dispatch.Config{
			BundleURLTTL: c.BundleURLTTL, Origins: c.CORSOrigins, ReviewInterval: c.SessionReview,
		},
	})
	s.relay = relay.New(relay.Config{DB: relayDB{s.db}, Local: s.dispatcher, Logger: s.log})
	page, err := tab.New(tab.Config{StorageOrigin: originOf(c.SupabasePublicURL), EmbedOrigins: c.EmbedOrigins})
	if err != nil {
		return nil, err
	}
	api := rest.New(rest.Deps{ //nolint:contextcheck // what its handlers use is the context of the request
		DB: s.db, Auth: identity, Bundles: bundles, Verifier: s.gate, Store: s.store, Logger: s.log,
		WS: s.dispatcher, Tab: page, Logs: s.relay, Log: s.db, Stopping: s.stopping, Metrics: registry, Ready: s.whyNot, Leading: s.db.IsLeader, Ended: s.signedOut,
		Config: rest.Config{
			Version: c.Version, CORSOrigins: c.CORSOrigins, TrustedProxies: c.TrustedProxies,
			APIRate: rest.Rate(c.APIRate), AuthRate: rest.Rate(c.AuthRate),
			SetupCode: c.SetupCode, MetricsToken: c.MetricsToken, RequestTimeout: c.RequestTimeout, BundleURLTTL: c.BundleURLTTL,
		},
	})
	// Beside the API, whose tokens and limits are not for servers.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == relay.Path {
			s.relay.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}), nil
}

// originOf gives the origin of an address that LoadConfig has checked.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// onEnded is told by the feed of sessions and credentials that may have ended.
func (s *Server) onEnded(sessions, nodes []string) {
	s.gate.Forget(sessions...)
	s.dispatcher.Doubt(sessions, nodes)
}

// signedOut is told of a session that has ended through this server.
func (s *Server) signedOut(session string) {
	s.gate.End(session)
	s.dispatcher.Doubt([]string{session}, nil)
}

// whyNot tells why the server takes no traffic now.
func (s *Server) whyNot() error {
	if why := s.why.Load(); why != nil {
		return fault.New(fault.Unavailable, "%s", *why)
	}
	return nil
}

// serve starts the parts, waits for the end, and stops them in order.
func (s *Server) serve(ctx, base context.Context, cancelBase context.CancelCauseFunc, listener net.Listener) error {
	lead, abdicate := context.WithCancel(base)
	defer abdicate()
	parts, failed := errgroup.WithContext(base) // the feed, the dispatcher and the socket
	var loops sync.WaitGroup                    // the leader's
	parts.Go(func() error { return s.db.Feed(base, s.store.Apply) })
	parts.Go(func() error { return s.dispatcher.Run(base) })
	parts.Go(func() error { return s.http.Serve(listener) })
	parts.Go(func() error { return s.greet(base) })
	parts.Go(func() error {
		address := s.advertised(base)
		s.log.InfoContext(base, "other servers are told this address", slog.String("address", address))
		s.relay.Announce(base, address)
		return nil
	})
	loops.Go(func() {
		err := control.Run(lead, control.Deps{
			Leader: s.db, Binder: s.db, Upkeep: upkeep{s.db}, Store: s.store, Now: s.db.Time, Logger: s.log,
		})
		s.log.DebugContext(base, "the leader's loops have ended", slog.Any("error", err))
	})
	s.log.InfoContext(ctx, "listening", slog.String("url", s.URL()), slog.Any("config", s.config))
	select {
	case <-ctx.Done():
	case <-failed.Done():
	}
	s.notReady("the server is stopping")
	abdicate() // first of all: whoever leads next need not wait for our connections
	s.stopTraffic(base)
	loops.Wait()
	cancelBase(errStopped)
	err := parts.Wait()
	s.log.InfoContext(ctx, "stopped")
	if ctx.Err() != nil || errors.Is(err, errStopped) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// errStopped is why the parts end when the server is stopped.
var errStopped = errors.New("the server was stopped")

// stopTraffic closes the listener, then the sockets, whose nodes may have readers
// of logs among the requests, and then waits for the requests under way.
func (s *Server) stopTraffic(base context.Context) {
	ctx, cancel := context.WithTimeout(base, s.config.ShutdownGrace)
	defer cancel()
	close(s.stopping)
	drained := make(chan error, 1)
	go func() { drained <- s.http.Shutdown(ctx) }()
	if err := s.dispatcher.Shutdown(ctx); err != nil {
		s.log.WarnContext(ctx, "some connections did not end in time", slog.Any("error", err))
	}
	if err := <-drained; err != nil {
		s.log.WarnContext(ctx, "some requests did not end in time", slog.Any("error", err))
		_ = s.http.Close()
	}
}

// greet waits for the read model, and tells who sets up a new cluster from another
// machine which code to show.
func (s *Server) greet(ctx context.Context) error {
	select {
	case <-s.store.Synced():
	case <-ctx.Done():
		return nil
	}
	if err := s.applySettings(ctx); err != nil {
		return err
	}
	s.checkBudget(ctx)
	s.why.CompareAndSwap(s.starting, nil) // unless the server is stopping already
	close(s.ready)
	if s.config.Loopback() {
		return nil
	}
	s.tellSetupCode(ctx, s.db.SetupStatus)
	return nil
}

// tellSetupCode asks until the database answers: without the code nobody can set the
// cluster up from another machine.
func (s *Server) tellSetupCode(ctx context.Context, ask func(context.Context) (api.SetupStatus, error)) {
	for {
		status, err := ask(ctx)
		if err == nil {
			if status.NeedsSetup {
				s.log.InfoContext(ctx, "there is no admin yet: run `stark auth setup` with this code", slog.String("setup_code", s.config.SetupCode))
			}
			return
		}
		s.log.WarnContext(ctx, "whether there is an admin is not known yet, asking again", slog.Any("error", err))
		select {
		case <-time.After(greetRetry):
		case <-ctx.Done():
			return
		}
	}
}

// applySettings stores what the environment says about the whole cluster, before
// the first request is taken.
func (s *Server) applySettings(ctx context.Context) error {
	if beat := s.config.HeartbeatInterval; beat > 0 {
		changed, err := s.db.SetHeartbeatInterval(ctx, beat)
		if err != nil {
			return fmt.Errorf("set the heartbeat interval: %w", err)
		}
		if changed {
			s.log.InfoContext(ctx, "audit", slog.String("action", "heartbeatInterval.set"), slog.Bool("done", true), slog.Duration("interval", beat))
		}
	}
	open := s.config.OpenRegistration
	if open == nil {
		return nil
	}
	changed, err := s.db.SetOpenRegistration(ctx, *open)
	if err != nil {
		return fmt.Errorf("set whether registration is open: %w", err)
	}
	if changed {
		s.log.InfoContext(ctx, "audit", slog.String("action", "registration.set"), slog.Bool("done", true), slog.Bool("open", *open))
	}
	return nil
}

// checkBudget warns of a pool that cannot grow to its size: a server that finds
// out under load refuses requests.
func (s *Server) checkBudget(ctx context.Context) {
	b, err := s.db.Budget(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "the connection budget could not be read", slog.Any("error", err))
		return
	}
	for _, m := range b.Messages {
		s.log.WarnContext(ctx, "too few connections", slog.String("problem", m), slog.Int("max", b.Max), slog.Int("used", b.Used), slog.Int("wanted", b.Wanted))
	}
}
