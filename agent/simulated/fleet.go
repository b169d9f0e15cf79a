package simulated

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/shared/api"
)

// MaxAgents bounds a fleet.
const MaxAgents = 100_000

// What a fleet keeps of the output of one agent's pods, in bytes.
const (
	logBytesPerPod = 16 << 10
	logBytes       = 64 << 10
)

// Options of a fleet. URL, Prefix, Count and Token must be set.
type Options struct {
	URL    string // http(s):// address of the server
	Prefix string // of the nodes' names, which end with -1, -2 and so on
	Count  int    // of agents, 1 to MaxAgents

	// Token gives what one more agent registers with; later it uses its own credential.
	Token func(ctx context.Context) (string, error)

	// State gives what the agent of a name remembers when the process has ended; nil has
	// them remember nothing.
	State func(name string) (agent.State, error)

	Arrivals  int           // agents that are on their way in, or out, at the same time; default 64
	Heartbeat time.Duration // 0 is as the server says
	Churn     time.Duration // mean time after which an agent loses its connection and comes back; 0 for never

	StartLatency time.Duration // of a run, on average
	LogEvery     time.Duration // between two lines of a run's output; 0 for never

	Labels      map[string]string
	Taints      []api.Taint
	Allocatable *api.Capacity // of each node; nil leaves it to the server's default
	Version     string        // of the agents

	// Sources are local addresses from which the agents dial in turn: one address has no
	// more than some 28,000 ports towards one server. Empty leaves it to the machine.
	Sources []netip.Addr
}

// Fleet is a number of simulated agents. Run it once; the other methods may be called at
// any time.
type Fleet struct {
	o        Options
	executor *Executor
	traffic  traffic
	failures failures
	members  []*member

	registered, online, reconnects, refused atomic.Int64

	whole     chan struct{} // closed when all were online at once
	wholeOnce sync.Once
	begun     time.Time
	took      atomic.Int64 // until then
}

// member is one agent of a fleet.
type member struct {
	agent *agent.Agent
	line  *line
	stop  context.CancelFunc
	done  chan struct{}

	linked, before atomic.Bool
}

// New makes a fleet; it connects nothing yet.
func New(o Options) (*Fleet, error) {
	if o.Count < 1 || o.Count > MaxAgents {
		return nil, fmt.Errorf("simulated: %d agents: want 1 to %d", o.Count, MaxAgents)
	}
	if o.Token == nil || o.Prefix == "" {
		return nil, errors.New("simulated: a prefix of names and a source of tokens are needed")
	}
	if o.Arrivals <= 0 {
		o.Arrivals = 64
	}
	f := &Fleet{o: o, executor: &Executor{StartLatency: o.StartLatency, LogEvery: o.LogEvery}, whole: make(chan struct{})}
	sources := o.Sources
	if len(sources) == 0 {
		sources = []netip.Addr{{}}
	}
	dialers := make([]line, len(sources))
	for i, from := range sources {
		dialers[i].dialer.Client = client(from)
		dialers[i].dialer.UserAgent = "stark-simulated/" + o.Version
	}
	for i := range o.Count {
		m, err := f.member(i, &line{dialer: dialers[i%len(dialers)].dialer, traffic: &f.traffic})
		if err != nil {
			return nil, err
		}
		f.members = append(f.members, m)
	}
	return f, nil
}

func (f *Fleet) member(i int, l *line) (*member, error) {
	checkpoints := time.Duration(-1)
	if f.o.LogEvery > 0 {
		checkpoints = 0 // the agent's default
	}
	m := &member{line: l, done: make(chan struct{})}
	name := f.o.Prefix + "-" + strconv.Itoa(i+1)
	var state agent.State = &memory{}
	var err error
	if f.o.State != nil {
		if state, err = f.o.State(name); err != nil {
			return nil, err
		}
	}
	m.agent, err = agent.New(agent.Config{
		URL: f.o.URL, Name: name, TokenSource: f.o.Token, RuntimeType: api.RuntimeNode,
		Labels: f.o.Labels, Taints: f.o.Taints, Allocatable: f.o.Allocatable, Version: f.o.Version, Leave: true,
		Executor: f.executor, State: state, Dialer: l, Logger: slog.New(complaints{&f.failures, l}),
		Linked:    func(connection string) { f.linked(m, connection != "") },
		Heartbeat: f.o.Heartbeat, LogBytesPerPod: logBytesPerPod, LogBytes: logBytes, LogCheckpoints: checkpoints,
	})
	return m, err
}

// linked counts an agent that has registered, or lost its connection.
func (f *Fleet) linked(m *member, up bool) {
	if m.linked.Swap(up) == up {
		return
	}
	if !up {
		f.online.Add(-1)
		return
	}
	m.line.isCut.Store(false)
	if m.before.Swap(true) {
		f.reconnects.Add(1)
	} else {
		f.registered.Add(1)
	}
	if f.online.Add(1) == int64(len(f.members)) {
		f.wholeOnce.Do(func() {
			f.took.Store(int64(time.Since(f.begun)))
			close(f.whole)
		})
	}
}

// Whole is closed when all agents were online at the same time for the first time.
func (f *Fleet) Whole() <-chan struct{} { return f.whole }

// NodeIDs lists the nodes that have registered.
func (f *Fleet) NodeIDs() []string {
	var ids []string
	for _, m := range f.members {
		if id := m.agent.NodeID(); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// Run connects the agents and keeps them until ctx ends; then each takes its node out
// of the cluster. It gives an error where the server lets none of them in.
func (f *Fleet) Run(ctx context.Context) error {
	f.begun = time.Now()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	refusals := make(chan error, len(f.members))
	f.arrive(ctx, work, refusals)
	if f.o.Churn > 0 {
		f.churn(ctx)
	}
	none := int(f.refused.Load()) == len(f.members)
	if !none {
		<-ctx.Done()
	}
	f.depart()
	if none {
		return <-refusals
	}
	return nil
}

// arrive starts the agents, so many at a time.
func (f *Fleet) arrive(ctx, work context.Context, refusals chan<- error) {
	places := make(chan struct{}, f.o.Arrivals)
	for _, m := range f.members {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		life, stop := context.WithCancel(work)
		m.stop = stop
		go func() {
			defer close(m.done)
			defer stop()
			if err := m.agent.Run(life); err != nil {
				f.refused.Add(1)
				f.failures.add(err)
				refusals <- err
			}
		}()
		go func() {
			select {
			case <-m.agent.Registered():
			case <-m.done:
			}
			<-places
		}()
	}
	for range f.o.Arrivals { // all are in
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// churn cuts connections at random until ctx ends.
func (f *Fleet) churn(ctx context.Context) {
	mean := float64(f.o.Churn) / float64(len(f.members))
	for {
		select {
		case <-time.After(time.Duration(rand.ExpFloat64() * mean)):
		case <-ctx.Done():
			return
		}
		f.members[rand.IntN(len(f.members))].line.cut() //nolint:gosec // whose turn it is, is no secret
	}
}

// depart stops the agents, so many at a time, and waits for them.
func (f *Fleet) depart() {
	var wg sync.WaitGroup
	places := make(chan struct{}, f.o.Arrivals)
	for _, m := range f.members {
		if m.stop == nil {
			continue // was never started
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			m.stop()
			<-m.done
		})
	}
	wg.Wait()
}
