package dispatch

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// Database is what the dispatcher asks of Postgres. Every method is safe for
// concurrent use and fails with a *fault.Error where a caller should know why.
type Database interface {
	Credentials
	Nodes
	Runs
}

// Credentials answers for tokens that Stark itself has issued, and for roles.
type Credentials interface {
	NodeByCredential(ctx context.Context, secret string) (Credential, error)
	// ConfirmCredential says that the node has kept a credential it was given.
	ConfirmCredential(ctx context.Context, credentialID string) error
	// UsableCredentials gives those that are neither revoked nor to be replaced.
	UsableCredentials(ctx context.Context, ids []string) ([]string, error)
	JoinTokenValid(ctx context.Context, secret string) error
	RedeemTicket(ctx context.Context, secret string) (access.Identity, error)
	UserRoles(ctx context.Context, userID string) (roles []api.Role, found bool, err error)
}

// Credential names a node's credential, without its secret.
type Credential struct {
	ID     string
	NodeID string
}

// Nodes changes what is known of nodes. SetNodeStatus does nothing when a newer
// session has registered the node; RenewLeases names the nodes whose given session
// has lost them, to a newer session anywhere, because they were removed, or because
// they were thought to be lost and must say anew what is alive on them.
type Nodes interface {
	RegisterNode(ctx context.Context, r Registrar, req api.RegisterNodeRequest, m Meta) (Registration, error)
	RenewLeases(ctx context.Context, nodeIDs, sessions []string) (lost []string, err error)
	SetNodeStatus(ctx context.Context, nodeID, session string, status api.NodeStatus) error
	// StoreHealth keeps what agents tell of their nodes' health, of those whose session it is.
	StoreHealth(ctx context.Context, all []NodeHealth) error
	// StoreCheckpoints keeps ends of the output of runs that live, of those on the node
	// that speaks.
	StoreCheckpoints(ctx context.Context, all []NodeCheckpoint) error
}

// NodeHealth is what a heartbeat told of a node: nil parts are not news.
type NodeHealth struct {
	NodeID, Session string
	Conditions      []api.NodeCondition
	Usage           *api.NodeUsage
}

// Runs tells what a node should run and takes in what became of it. ReportRuns
// guards every report: a node speaks for its own runs only; it takes 1,000 at once.
type Runs interface {
	Wanted(ctx context.Context, nodeID string) ([]wire.Assignment, error)
	ReportRuns(ctx context.Context, nodeID string, reports []wire.RunReport) (accepted []api.RunKey, refused []wire.Refusal, err error)
	BundleFor(ctx context.Context, nodeID, podID string, incarnation int) (api.Pack, error)
}

// Registrar is by what right a node registers: one of its parts is set.
type Registrar struct {
	UserID    string // of a user with the right to register nodes
	Shared    bool   // the user is staff, so the node serves everybody
	JoinToken string
	NodeID    string // the connection came with this node's credential

	CredentialID string // the one that was shown, with NodeID

	Proposed string // the credential that the agent has made for itself; "" for none
}

// Meta is what the connection tells about a node.
type Meta struct {
	Session   string // names the connection, in the lease
	IP        string
	UserAgent string
}

// Registration is the outcome: Credential is set when a new one was issued, and
// CredentialID names the one that the node is to use from now on.
type Registration struct {
	Node         api.Node
	Credential   string
	CredentialID string
}

// Verifier tells who an access token speaks for, without roles, and which
// sessions of users are over.
type Verifier interface {
	Verify(ctx context.Context, token string) (access.Identity, error)
	Alive(ctx context.Context, id access.Identity) error
	Ended(ctx context.Context, sessions []string) ([]string, error)
}

// Signer makes short-lived addresses of bundles.
type Signer interface {
	SignedURL(ctx context.Context, path string, ttl time.Duration) (url string, expires time.Time, err error)
}

// Config are the dispatcher's times and bounds; zero values take the defaults.
type Config struct {
	AuthTimeout     time.Duration // for a socket without identity; 10 s
	RegisterTimeout time.Duration // for one that has shown a join token, beyond twice AuthTimeout; 20 s
	PingInterval    time.Duration // 15 s
	PingTimeout     time.Duration // 10 s
	AckTimeout      time.Duration // until the wanted set is sent again; 10 s
	StopMargin      time.Duration // until a stop is told again, behind the grace of its pod; that of core/pod
	BundleURLTTL    time.Duration // 5 min, and no more
	ReviewInterval  time.Duration // between looks at whether sessions have ended; 5 s
	MaxSessions     int           // 20,000
	MaxEntering     int           // nodes that are on their way in at the same time; 1,024
	Origins         []string      // of pages that may connect: "https://host", "http://localhost:*", "*"
}

func (c Config) withDefaults() Config {
	or := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	or(&c.AuthTimeout, 10*time.Second)
	or(&c.RegisterTimeout, 20*time.Second)
	or(&c.PingInterval, 15*time.Second)
	or(&c.PingTimeout, 10*time.Second)
	or(&c.AckTimeout, 10*time.Second)
	or(&c.StopMargin, pod.StopMargin)
	or(&c.BundleURLTTL, maxBundleURLTTL)
	c.BundleURLTTL = min(c.BundleURLTTL, maxBundleURLTTL)
	or(&c.ReviewInterval, 5*time.Second)
	if c.MaxSessions <= 0 {
		c.MaxSessions = 20_000
	}
	if c.MaxEntering <= 0 {
		c.MaxEntering = 1024
	}
	return c
}

// Deps is what New puts together; all but Log and Metrics must be set.
type Deps struct {
	DB       Database
	Log      watch.Log // nil: no watch goes on from a cursor
	Store    *store.Store
	Verifier Verifier
	Signer   Signer
	Metrics  prometheus.Registerer // nil: not registered anywhere
	Now      func() time.Time      // by which tokens end; nil: time.Now
	Config   Config
	Logger   *slog.Logger
}

const (
	flushEvery   = time.Second // heartbeats to leases
	callTimeout  = 15 * time.Second
	writeTimeout = 10 * time.Second

	goodbyeTimeout = time.Second          // of the last frames and the closing handshake
	handOverPace   = 2 * time.Millisecond // per session, when the server stops

	maxBundleURLTTL = 5 * time.Minute
)

// Dispatcher holds the sessions of one server. It is an http.Handler and safe for
// concurrent use.
type Dispatcher struct {
	Deps
	routing chan struct{} // closed when nodes are told of changes
	config  Config
	log     *slog.Logger
	metrics *metrics
	held    watch.Held
	doubts  doubts

	checkpoints *checkpoints
	admission   *admission

	mu       sync.Mutex
	sessions map[*session]struct{}
	nodes    map[string]*session   // by node id: the newest
	claims   map[string]*claim     // by key: the newest
	beats    map[string]string     // node id -> session id, since the last flush
	health   map[string]NodeHealth // by node id, since the last flush
	closing  bool
	wg       sync.WaitGroup // sessions
	opened   atomic.Uint64  // sessions so far
}

// New makes a Dispatcher. Run must run for it to tell nodes anything.
func New(d Deps) *Dispatcher {
	if d.Now == nil {
		d.Now = time.Now
	}
	config := d.Config.withDefaults()
	return &Dispatcher{
		Deps: d, config: config, log: d.Logger, metrics: newMetrics(d.Metrics),
		doubts:   newDoubts(),
		routing:  make(chan struct{}),
		sessions: map[*session]struct{}{}, nodes: map[string]*session{}, claims: map[string]*claim{}, beats: map[string]string{},
		checkpoints: newCheckpoints(d.DB.StoreCheckpoints),
		health:      map[string]NodeHealth{},
		admission:   newAdmission(config.MaxEntering, time.Now),
	}
}

// Run routes changes to nodes, renews leases and ends sessions whose right has
// gone, until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { d.route(ctx) })
	wg.Go(func() { d.tick(ctx) })
	wg.Go(func() { d.review(ctx) })
	wg.Go(func() { d.followRights(ctx) })
	wg.Wait()
	return context.Cause(ctx)
}

// tick flushes heartbeats and sends again what was not acknowledged.
func (d *Dispatcher) tick(ctx context.Context) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		d.flush(ctx)
		d.flushHealth(ctx)
		now := time.Now()
		for _, s := range d.registered() {
			if s.overdue(now, d.config.AckTimeout) {
				d.metrics.resent.Inc()
				s.resync()
			}
		}
	}
}

// flush renews the leases of all nodes that were heard since the last time; those
// of a failed attempt are renewed with the next.
func (d *Dispatcher) flush(ctx context.Context) {
	d.mu.Lock()
	beats := d.beats
	d.beats = make(map[string]string, len(beats))
	d.mu.Unlock()
	if len(beats) == 0 {
		return
	}
	ids, sessions := make([]string, 0, len(beats)), make([]string, 0, len(beats))
	for id, s := range beats {
		ids, sessions = append(ids, id), append(sessions, s)
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	lost, err := d.DB.RenewLeases(call, ids, sessions)
	if err != nil {
		d.log.WarnContext(ctx, "leases could not be renewed", slog.Any("error", err), slog.Int("nodes", len(ids)))
		d.mu.Lock()
		for id, s := range beats {
			if _, newer := d.beats[id]; !newer {
				d.beats[id] = s
			}
		}
		d.mu.Unlock()
		return
	}
	for _, id := range lost {
		if s := d.nodeSession(id); s != nil && s.id == beats[id] && !s.left.Load() { // who leaves is being answered
			s.end(closeDisplaced, "the node must register again: it was given up, or is not this connection's any more")
		}
	}
}

// registered lists the sessions of nodes.
func (d *Dispatcher) registered() []*session {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*session, 0, len(d.nodes))
	for _, s := range d.nodes {
		list = append(list, s)
	}
	return list
}

// nodeSession gives the session of a node, nil when it is not connected here.
func (d *Dispatcher) nodeSession(nodeID string) *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nodes[nodeID]
}

// admit takes a session in, unless the server is full or stopping.
func (d *Dispatcher) admit(s *session) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing {
		return fault.New(fault.Unavailable, "the server is stopping")
	}
	if len(d.sessions) >= d.config.MaxSessions {
		return fault.New(fault.Unavailable, "the server has no room for another connection")
	}
	d.sessions[s] = struct{}{}
	d.metrics.sessions.Inc()
	d.wg.Add(1)
	return nil
}

// leave takes a session out; when it was its node's newest, the node is suspect,
// or offline where it said goodbye.
func (d *Dispatcher) leave(ctx context.Context, s *session) {
	defer d.wg.Done()
	s.leavePlace()
	nodeID := s.node()
	d.mu.Lock()
	delete(d.sessions, s)
	d.unclaim(s)
	current := nodeID != "" && d.nodes[nodeID] == s
	if current {
		delete(d.nodes, nodeID)
		delete(d.beats, nodeID)
		delete(d.health, nodeID)
		d.metrics.nodes.Dec()
	}
	d.mu.Unlock()
	d.metrics.sessions.Dec()
	if !current {
		return
	}
	status := api.NodeSuspect
	if s.left.Load() {
		status = api.NodeOffline
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := d.DB.SetNodeStatus(ctx, nodeID, s.id, status); err != nil {
		s.log.WarnContext(ctx, "the node's status could not be set; its lease will run out",
			slog.String("status", string(status)), slog.Any("error", err))
	}
}

// join makes s the session of its node and closes an older one, unless a newer one is
// there.
func (d *Dispatcher) join(s *session, nodeID string) bool {
	d.mu.Lock()
	other := d.nodes[nodeID]
	if other != nil && other != s && other.order > s.order && other.alive() && !other.left.Load() {
		d.mu.Unlock()
		return false
	}
	d.nodes[nodeID] = s
	d.beats[nodeID] = s.id
	if other == nil {
		d.metrics.nodes.Inc()
	}
	d.mu.Unlock()
	if other != nil && other != s {
		other.displace()
	}
	return true
}

// Shutdown hands every session over to the other servers: one by one, so that they
// come there spread out, each is told that the server goes away and closed. A node
// works on here until its turn comes, so none is without a server for longer than its
// own way to the next one. Shutdown waits for the last one until ctx ends, and takes
// at most half of that time for the spreading. New connections are refused from now on.
func (d *Dispatcher) Shutdown(ctx context.Context) error {
	d.mu.Lock()
	d.closing = true
	list := slices.Collect(maps.Keys(d.sessions)) // in no order: a map's
	d.mu.Unlock()
	d.handOver(ctx, list)
	done := make(chan struct{})
	go func() {
		d.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// handOver ends sessions at a pace that the other servers and the database bear.
func (d *Dispatcher) handOver(ctx context.Context, list []*session) {
	spread := time.Duration(len(list)) * handOverPace
	if deadline, ok := ctx.Deadline(); ok {
		spread = min(spread, time.Until(deadline)/2)
	}
	const step = 10 * time.Millisecond
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	share := max(1, len(list)*int(step)/max(int(step), int(spread))) // per tick
	for i, s := range list {
		s.end(closeGoingAway, "the server is stopping")
		if (i+1)%share != 0 || i+1 == len(list) || ctx.Err() != nil {
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done(): // the rest at once
		}
	}
}

var _ http.Handler = (*Dispatcher)(nil)
