package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

// binder is a Binder with a function field; it remembers every call.
type binder struct {
	bind func(ds []scheduler.Decision) ([]scheduler.Decision, error)

	mu    sync.Mutex
	calls [][]scheduler.Decision
}

func (b *binder) Bind(_ context.Context, ds []scheduler.Decision) ([]scheduler.Decision, error) {
	b.mu.Lock()
	b.calls = append(b.calls, slices.Clone(ds))
	b.mu.Unlock()
	if b.bind == nil {
		return nil, nil
	}
	return b.bind(ds)
}

func (b *binder) take() [][]scheduler.Decision {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := b.calls
	b.calls = nil
	return calls
}

// start runs the loop over a store with these objects until the test ends.
func start(t *testing.T, b *binder, batch store.Batch) *store.Store {
	t.Helper()
	st := store.New()
	batch.Reset, batch.Cursor = true, "1"
	st.Apply(batch)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- scheduler.Run(ctx, st, b, loggingtest.New(t).Logger) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v, want context.Canceled", err)
		}
	})
	return st
}

func putPods(pods ...api.Pod) store.Batch {
	return store.Batch{Pods: store.Changes[api.Pod]{Put: pods}}
}

func putNodes(nodes ...api.Node) store.Batch {
	return store.Batch{Nodes: store.Changes[api.Node]{Put: nodes}}
}

func TestRunBindsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &binder{}
		st := start(t, b, putNodes(aNode("n1")))
		synctest.Wait()
		before := time.Now()
		st.Apply(putPods(aPod("p1")))
		synctest.Wait()
		calls := b.take()
		if len(calls) != 1 || calls[0][0].NodeID != "n1" || calls[0][0].PodID != "p1" {
			t.Fatalf("got %+v, want p1 bound to n1", calls)
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("first decision took %v, want no wait", took)
		}
	})
}

func TestRunDoesNotPlanTwiceWhatTheFeedDoesNotShowYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &binder{}
		node := aNode("n1")
		node.Allocatable.Pods = 1
		st := start(t, b, putNodes(node))
		st.Apply(putPods(aPod("p1")))
		synctest.Wait()
		st.Apply(putPods(aPod("p2"))) // the feed has not shown that p1 is bound
		synctest.Wait()
		calls := b.take()
		if len(calls) != 2 || len(calls[1]) != 1 {
			t.Fatalf("got %+v, want one call per pod", calls)
		}
		if d := calls[1][0]; d.PodID != "p2" || d.Verdict == nil {
			t.Errorf("got %+v, want a verdict for p2: p1 holds the only slot", d)
		}
	})
}

func TestRunParksUntilAnEventCouldHelp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &binder{}
		node := aNode("n1")
		node.Allocatable.Pods = 1
		holder := onNode(aPod("p0"), "n1")
		st := start(t, b, store.Batch{
			Nodes: store.Changes[api.Node]{Put: []api.Node{node}},
			Pods:  store.Changes[api.Pod]{Put: []api.Pod{holder, aPod("p1")}},
		})
		synctest.Wait()
		if calls := b.take(); len(calls) != 1 || calls[0][0].Verdict == nil {
			t.Fatalf("got %+v, want one verdict", calls)
		}
		st.Apply(putPods(func() api.Pod { p := holder; p.Reason = "x"; return p }()))
		synctest.Wait()
		<-time.After(time.Minute)
		synctest.Wait()
		if calls := b.take(); len(calls) != 0 {
			t.Fatalf("got %+v, want silence: nothing changed for p1", calls)
		}
		holder.Status = api.PodSucceeded
		st.Apply(putPods(holder))
		synctest.Wait()
		if calls := b.take(); len(calls) != 1 || calls[0][0].NodeID != "n1" {
			t.Fatalf("got %+v, want p1 bound after room was given back", calls)
		}
	})
}

func TestRunPlansParkedPodsWhenANodeChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &binder{}
		st := start(t, b, putPods(aPod("p1")))
		synctest.Wait()
		if calls := b.take(); len(calls) != 1 || calls[0][0].Verdict.Reason != api.ReasonWaitingForNode {
			t.Fatalf("got %+v, want WaitingForNode", calls)
		}
		st.Apply(putNodes(aNode("n1")))
		synctest.Wait()
		if calls := b.take(); len(calls) != 1 || calls[0][0].NodeID != "n1" {
			t.Fatalf("got %+v, want p1 bound", calls)
		}
	})
}

func TestRunParksStaleDecisionsUntilThePodChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &binder{bind: func(ds []scheduler.Decision) ([]scheduler.Decision, error) {
			if ds[0].Incarnation == 1 {
				return ds, nil
			}
			return nil, nil
		}}
		st := start(t, b, putNodes(aNode("n1")))
		st.Apply(putPods(aPod("p1")))
		synctest.Wait()
		if calls := b.take(); len(calls) != 1 {
			t.Fatalf("got %d calls, want one: a stale decision is not retried at once", len(calls))
		}
		again := aPod("p1")
		again.Incarnation = 2
		st.Apply(putPods(again))
		synctest.Wait()
		if calls := b.take(); len(calls) != 1 || calls[0][0].Incarnation != 2 {
			t.Fatalf("got %+v, want incarnation 2 bound", calls)
		}
	})
}

func TestRunBacksOffWhenBindingFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var healed atomic.Bool
		b := &binder{bind: func([]scheduler.Decision) ([]scheduler.Decision, error) {
			if !healed.Load() {
				return nil, errors.New("no database")
			}
			return nil, nil
		}}
		start(t, b, store.Batch{
			Nodes: store.Changes[api.Node]{Put: []api.Node{aNode("n1")}},
			Pods:  store.Changes[api.Pod]{Put: []api.Pod{aPod("p1")}},
		})
		<-time.After(10 * time.Second)
		synctest.Wait()
		if n := len(b.take()); n < 5 || n > 10 {
			t.Errorf("got %d tries in 10 s, want 5 to 10", n)
		}
		healed.Store(true)
		<-time.After(6 * time.Second)
		synctest.Wait()
		if n := len(b.take()); n != 1 {
			t.Errorf("got %d calls after recovery, want 1", n)
		}
	})
}

func TestRunBindsInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &binder{}
		pods := make([]api.Pod, 2500)
		for i := range pods {
			pods[i] = aPod(fmt.Sprintf("p%04d", i))
		}
		node := aNode("n1")
		node.Allocatable = api.Capacity{CPU: 1e9, Memory: 1e9, Storage: 1e9, Pods: 1e6}
		start(t, b, store.Batch{
			Nodes: store.Changes[api.Node]{Put: []api.Node{node}},
			Pods:  store.Changes[api.Pod]{Put: pods},
		})
		synctest.Wait()
		calls := b.take()
		slices.SortFunc(calls, func(x, y []scheduler.Decision) int { return len(y) - len(x) }) // they may be bound at the same time
		if len(calls) != 2 || len(calls[0]) != 2000 || len(calls[1]) != 500 {
			t.Fatalf("got %d calls, want 2000 and 500 decisions", len(calls))
		}
	})
}

func TestRunEndsBeforeTheStoreIsSynced(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := scheduler.Run(ctx, store.New(), &binder{}, loggingtest.New(t).Logger)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func aNode(name string) api.Node {
	return api.Node{
		ID: name, Name: name, RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Shared: true,
		Allocatable: api.Capacity{CPU: 1000, Memory: 1024, Storage: 1024, Pods: 10},
	}
}

func aPod(id string) api.Pod {
	return api.Pod{
		ID: id, PackID: "pack", RuntimeTag: api.TagNode, Status: api.PodPending, Namespace: "default",
		CreatedBy: "ann", CreatedAt: now, Incarnation: 1,
		ResourceRequests: api.Resources{CPU: 100, Memory: 128},
	}
}

func onNode(p api.Pod, node string) api.Pod {
	p.Status, p.NodeID = api.PodRunning, &node
	return p
}

func contains(t *testing.T, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("got %q, want it to contain %q", got, want)
	}
}
