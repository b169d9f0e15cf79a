package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// nowhere is a server that cannot be reached.
type nowhere struct {
	err error
	mu  sync.Mutex
	at  []time.Time
}

func (n *nowhere) Dial(context.Context, string, string) (Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = append(n.at, time.Now())
	return nil, n.err
}

// memory is the state of a node that was let in once.
type memory struct{}

func (memory) Get(_ context.Context, key string) ([]byte, error) {
	if key != identityKey {
		return nil, nil
	}
	return json.Marshal(identity{NodeID: "node-1", Name: "n", Credential: "stark_node_old"})
}
func (memory) Put(context.Context, string, []byte) error      { return nil }
func (memory) Delete(context.Context, string) error           { return nil }
func (memory) Keys(context.Context, string) ([]string, error) { return nil, nil }

type noExecutor struct{}

func (noExecutor) Controller(executor.Task) (executor.Controller, error) {
	return nil, errors.New("there is no runtime")
}
func (noExecutor) Capabilities() api.Capabilities { return api.Capabilities{} }

func dialsWithin(t *testing.T, err error, d time.Duration) []time.Time {
	t.Helper()
	n := &nowhere{err: err}
	a, newErr := New(Config{URL: "http://x", Name: "n", Executor: noExecutor{}, State: memory{}, Dialer: n, Logger: loggingtest.New(t).Logger})
	if newErr != nil {
		t.Fatal(newErr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return n.at
}

// A server that says when to come again is taken at its word, within a second; what it
// may not do is to keep a node away for long.
func TestABusyServerIsTakenAtItsWord(t *testing.T) {
	t.Parallel()
	for told, want := range map[time.Duration]time.Duration{5 * time.Second: 5 * time.Second, time.Hour: 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			busy := fmt.Errorf("dial: %w", full(told))
			at := dialsWithin(t, busy, 4*want)
			if len(at) < 3 {
				t.Fatalf("%d tries", len(at))
			}
			for i := range at[1:] {
				if gap := at[i+1].Sub(at[i]); gap < want || gap > want+time.Second {
					t.Errorf("told to wait %s, the agent came after %s", told, gap)
				}
			}
		})
	}
}

func full(turn time.Duration) error {
	return &fault.Error{Code: fault.Unavailable, RetryAfter: turn, Details: map[string]any{wire.DetailTurn: true}}
}

// A turn counts also where the agent has tried in vain for long, and is no more than a
// turn: other faults have it wait by its own measure.
func TestATurnIsKeptHoweverLongTheServerWasAway(t *testing.T) {
	t.Parallel()
	a, err := New(Config{URL: "http://x", Name: "n", Executor: noExecutor{}, State: memory{}, Dialer: &nowhere{}, Logger: loggingtest.New(t).Logger})
	if err != nil {
		t.Fatal(err)
	}
	long := away{backoff: 30 * time.Second}
	for range 100 {
		got := a.nextWait(t.Context(), long, false, fmt.Errorf("dial: %w", full(2*time.Second)))
		if got.pause < 2*time.Second || got.pause > 3*time.Second || got.backoff != long.backoff {
			t.Fatalf("told to come after 2 s, the agent stays away for %s", got.pause)
		}
	}
	first := a.nextWait(t.Context(), away{}, false, &fault.Error{Code: fault.Unavailable, RetryAfter: time.Second})
	if first.pause > a.cfg.Backoff.First {
		t.Errorf("a server that was away a moment ago is tried after %s", first.pause)
	}
}

// The agent tries for ever: fast at first, then every 15 to 30 seconds.
func TestReconnectBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := dialsWithin(t, errors.New("no route"), time.Hour)
		if first := at[1].Sub(at[0]); first > 100*time.Millisecond {
			t.Errorf("the first retry came after %s", first)
		}
		for i := len(at) - 1; i > len(at)-20; i-- {
			if gap := at[i].Sub(at[i-1]); gap < 15*time.Second || gap > 30*time.Second {
				t.Errorf("a late retry came after %s", gap)
			}
		}
		if n := len(at); n < 120 || n > 260 {
			t.Errorf("%d attempts in an hour", n)
		}
	})
}

func TestRefusedTokenIsRetriedSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := dialsWithin(t, fmt.Errorf("dial: %w", ErrRefused), time.Hour)
		if gap := at[1].Sub(at[0]); gap < 15*time.Second {
			t.Errorf("the first retry came after %s", gap)
		}
	})
}

func TestEveryCaseHasAnAction(t *testing.T) {
	t.Parallel()
	for _, w := range []wanted{wantNothing, wantRun, wantStop} {
		for _, is := range []actual{isAbsent, isAlive, isStopping, isEnded} {
			if _, ok := actions[w][is]; !ok {
				t.Errorf("nothing is said of wanted %d, actual %d", w, is)
			}
		}
	}
}

func TestCrashLoopBackoffIsCapped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, err := New(Config{URL: "http://x", Name: "n", Executor: noExecutor{}, State: memory{}, Dialer: &nowhere{err: errors.New("no route")}, Logger: loggingtest.New(t).Logger})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		p := newPod(a, wire.PodRef{PodID: "p", Incarnation: 1}, wire.Assignment{PodID: "p", Incarnation: 1})
		p.run(ctx)
		// 1, 2, 4 ... 256 s are nine waits and some 8.5 minutes; then every 5 minutes.
		if _, n := a.ledger.last(p.ref); n < 18 || n > 21 {
			t.Errorf("%d attempts in an hour", n)
		}
	})
}
