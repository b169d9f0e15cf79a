package simulated_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/filestate"
	"github.com/stark-orchestrator/stark/agent/simulated"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func join(context.Context) (string, error) { return joinToken, nil }

// start runs a fleet; end stops it, waits for it and gives what Run said.
func start(t *testing.T, o simulated.Options) (f *simulated.Fleet, end func() error) {
	t.Helper()
	f, err := simulated.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	return f, func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("the fleet does not end")
		}
	}
}

// until waits for what the fleet's own figures tell.
func until(t *testing.T, what string, yes func() bool) {
	t.Helper()
	limit := time.After(patience)
	for !yes() {
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestEachAgentIsANodeOfItsOwn(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	var asked atomic.Int64
	f, end := start(t, simulated.Options{
		URL: p.url, Prefix: "sim", Count: 20, Arrivals: 3, Heartbeat: 10 * time.Millisecond,
		Sources: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Token:   func(context.Context) (string, error) { asked.Add(1); return joinToken, nil },
	})
	select {
	case <-f.Whole():
	case <-time.After(patience):
		t.Fatal("the fleet is never whole")
	}
	// The server has asked for a beat in an hour: the fleet's own pace counts.
	p.await(t, "three heartbeats of each", func() bool {
		for _, n := range p.beats {
			if n < 3 {
				return false
			}
		}
		return len(p.beats) == 20
	})
	// The last answers are on their way yet.
	until(t, "the answers to the heartbeats", func() bool { return f.Stats().FramesIn >= 20*6 })
	if s := f.Stats(); s.Online != 20 || s.Registered != 20 || s.AllOnlineMS < 0 || s.FramesOut < 20*4 || s.BytesIn == 0 || s.BytesOut == 0 {
		t.Errorf("statistics %+v", s)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	s := f.Stats()
	if s.Online != 0 || s.Errors != 0 || s.Reconnects != 0 || asked.Load() != 20 || len(f.NodeIDs()) != 20 {
		t.Errorf("at the end %+v, %d tokens, nodes %v", s, asked.Load(), f.NodeIDs())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.left) != 20 {
		t.Errorf("%d of 20 nodes took their leave", len(p.left))
	}
}

func TestLostConnectionsComeBackWithTheirCredential(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	f, end := start(t, simulated.Options{URL: p.url, Prefix: "sim", Count: 3, Token: join, Churn: 50 * time.Millisecond})
	until(t, "reconnects", func() bool { return f.Stats().Reconnects >= 6 })
	if err := end(); err != nil {
		t.Fatal(err)
	}
	// What the fleet itself has cut is no trouble of the server's.
	if s := f.Stats(); s.Registered != 3 || s.Errors != 0 {
		t.Errorf("statistics %+v", s)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tokens["credential of sim-1"]+p.tokens["credential of sim-2"]+p.tokens["credential of sim-3"] < 6 {
		t.Errorf("shown were %v", p.tokens)
	}
}

// Who is killed leaves no node: those that come after it are the same nodes at once, while
// the server still takes their names for taken, and tell what has become of their pods.
func TestAFleetThatRemembersIsTheSameNodes(t *testing.T) {
	t.Parallel()
	p := newPlane(t, wire.Assignment{PodID: "pod", Incarnation: 1, Desire: wire.DesireRun, Pod: wire.PodSpec{Name: "web", RestartPolicy: api.RestartNever}})
	kept, err := filestate.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	var asked atomic.Int64
	o := simulated.Options{
		URL: p.url, Prefix: "sim", Count: 2,
		Token: func(context.Context) (string, error) { asked.Add(1); return joinToken, nil },
		State: func(name string) (agent.State, error) { return kept.Within(name) },
	}
	_, end := start(t, o)
	p.await(t, "running pods", func() bool { return len(p.reports[api.RunRunning]) == 2 })
	again, endAgain := start(t, o) // the first is there yet, as the server sees it
	p.await(t, "the end of the runs that nobody has seen end", func() bool {
		return p.tokens["credential of sim-1"] > 0 && p.tokens["credential of sim-2"] > 0 && len(p.reports[api.RunExited]) == 2
	})
	if err := errors.Join(endAgain(), end()); err != nil {
		t.Fatal(err)
	}
	if s := again.Stats(); s.Registered != 2 || s.PodsStarted != 0 || asked.Load() != 2 {
		t.Errorf("statistics %+v; tokens were asked for %d times", s, asked.Load())
	}
}

func TestAFleetWithoutAPlaceToRememberIn(t *testing.T) {
	t.Parallel()
	full := errors.New("the disk is full")
	_, err := simulated.New(simulated.Options{
		URL: "http://127.0.0.1:1", Prefix: "sim", Count: 2, Token: join,
		State: func(string) (agent.State, error) { return nil, full },
	})
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

func TestPodsRunAndStop(t *testing.T) {
	t.Parallel()
	p := newPlane(t, wire.Assignment{PodID: "pod", Incarnation: 1, Desire: wire.DesireRun, Pod: wire.PodSpec{Name: "web", RestartPolicy: api.RestartAlways}})
	f, end := start(t, simulated.Options{URL: p.url, Prefix: "sim", Count: 2, Token: join, StartLatency: time.Millisecond, LogEvery: time.Millisecond})
	p.await(t, "running pods", func() bool { return len(p.reports[api.RunRunning]) == 2 })
	if s := f.Stats(); s.PodsStarted != 2 || s.PodsRunning != 2 {
		t.Errorf("statistics %+v", s)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.reports[api.RunExited]) != 2 || f.Stats().PodsRunning != 0 {
		t.Errorf("reports %v, %+v", p.reports, f.Stats())
	}
}

func TestRefusedFleetSaysWhy(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	f, err := simulated.New(simulated.Options{
		URL: p.url, Prefix: "sim", Count: 4, Arrivals: 2, Token: func(context.Context) (string, error) { return "another", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	err = f.Run(t.Context())
	if _, ok := errors.AsType[*agent.RefusedError](err); !ok {
		t.Errorf("a fleet with a wrong token ends with %v", err)
	}
	if s := f.Stats(); s.Refused != 4 || s.Errors != 4 || s.Failures[agent.ErrRefused.Error()] != 4 {
		t.Errorf("statistics %+v", s)
	}
}

func TestAFleetWithoutAServerCountsItsTroubles(t *testing.T) {
	t.Parallel()
	f, end := start(t, simulated.Options{URL: "http://127.0.0.1:1", Prefix: "sim", Count: 2, Token: join})
	until(t, "attempts", func() bool { return f.Stats().Errors >= 4 })
	if err := end(); err != nil {
		t.Fatal(err)
	}
	s := f.Stats()
	if s.Online != 0 || s.Registered != 0 || len(s.Failures) != 1 || s.Failures["cannot reach the server: connection refused"] < 4 {
		t.Errorf("statistics %+v", s)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]simulated.Options{
		"0 agents":        {URL: "http://x", Prefix: "sim", Token: join},
		"100001 agents":   {URL: "http://x", Prefix: "sim", Token: join, Count: simulated.MaxAgents + 1},
		"tokens":          {URL: "http://x", Prefix: "sim", Count: 1},
		"prefix":          {URL: "http://x", Token: join, Count: 1},
		"http:// or http": {URL: "x", Prefix: "sim", Token: join, Count: 1},
	} {
		if _, err := simulated.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
