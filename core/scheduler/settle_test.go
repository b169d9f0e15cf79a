package scheduler_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

// ledger is a database of one node that binds what is not bound yet, and tells the read
// model of it only when it is asked to settle.
type ledger struct {
	binder
	st *store.Store

	mu      sync.Mutex
	bound   map[string]string // guarded by mu; pod -> node
	lost    int               // guarded by mu; answers that are still to be lost
	settles int               // guarded by mu
	refuses int               // guarded by mu; how often it cannot settle
}

func newLedger(bound ...api.Pod) *ledger {
	l := &ledger{bound: map[string]string{}}
	for _, p := range bound {
		l.bound[p.ID] = "n1"
	}
	l.bind = func(ds []scheduler.Decision) (stale []scheduler.Decision, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, d := range ds {
			_, there := l.bound[d.PodID]
			switch {
			case d.NodeID == "":
			case there:
				stale = append(stale, d)
			default:
				l.bound[d.PodID] = d.NodeID
			}
		}
		if l.lost--; l.lost >= 0 {
			return nil, errors.New("the answer is lost")
		}
		return stale, nil
	}
	return l
}

// Settle shows the read model what is bound.
func (l *ledger) Settle(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.settles++; l.settles <= l.refuses {
		return errors.New("no database")
	}
	var c store.Changes[api.Pod]
	for id, node := range l.bound {
		if p, ok := l.st.Pods.Snapshot().Get(id); ok {
			p.Status, p.NodeID = api.PodScheduled, &node
			c.Put = append(c.Put, p)
		}
	}
	l.st.Apply(store.Batch{Pods: c})
	return nil
}

// ask is a cluster of a node with so much room, whose pods all are told to a new scheduler.
func (l *ledger) ask(t *testing.T, room int, pods ...api.Pod) {
	t.Helper()
	l.st = store.New()
	first := putNodes(roomFor("n1", room))
	first.Reset, first.Pods.Put = true, pods
	l.st.Apply(first)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- scheduler.Run(ctx, l.st, l, loggingtest.New(t).Logger) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
}

// What was bound by a call whose answer is lost has its room, also while the read model is
// behind.
func TestRunKeepsTheRoomOfWhatIsBoundUnheard(t *testing.T) {
	t.Parallel()
	for _, refuses := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			const room = 50
			l := newLedger()
			l.lost, l.refuses = 1, refuses
			l.ask(t, room, crowdOf("a", room-1)...)
			<-time.After(500 * time.Millisecond)
			l.st.Apply(putPods(crowdOf("b", room)...))
			<-time.After(time.Minute)
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.bound) != room {
				t.Errorf("%d pods are bound to a node for %d", len(l.bound), room)
			}
			if l.settles > 10 {
				t.Errorf("it has settled %d times", l.settles)
			}
		})
	}
}

// A new leader does not give away the room of what the former one has bound just now.
func TestRunBeginsWithAllThatIsBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const room = 4500
		before := crowdOf("a", room-1)
		l := newLedger(before...)
		l.ask(t, room, append(before, crowdOf("b", 5000)...)...)
		<-time.After(time.Minute)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.bound) != room {
			t.Errorf("%d pods are bound to a node for %d", len(l.bound), room)
		}
	})
}

// How often a database that refuses everything is asked does not depend on how many pods
// wait.
func TestRunAsksADatabaseThatRefusesAsSeldomForACrowd(t *testing.T) {
	t.Parallel()
	asked := func(pods int) (n int) {
		synctest.Test(t, func(t *testing.T) {
			b := &binder{bind: func([]scheduler.Decision) ([]scheduler.Decision, error) {
				n++
				return nil, errTable
			}}
			st := start(t, b, putNodes(roomFor("n1", 10_000)))
			st.Apply(putPods(crowdOf("a", pods)...))
			<-time.After(10 * time.Minute)
			synctest.Wait()
		})
		return n
	}
	if few, many := asked(10), asked(crowd); many > 2*few || few < 60 {
		t.Errorf("%d calls in ten minutes for %d pods, %d for 10", many, crowd, few)
	}
}

// A pod that begins anew while it waits is told again why: its row has lost the word.
func TestRunTellsTheNextIncarnationWhyItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &binder{}
		st := start(t, b, putNodes(roomFor("n1", 0)))
		st.Apply(putPods(aPod("a")))
		synctest.Wait()
		if d := decided(b.take())["a"]; d.Verdict == nil {
			t.Fatalf("got %+v, want a verdict", d)
		}
		next := aPod("a")
		next.Incarnation, next.Reason = 2, "RolledBack"
		st.Apply(putPods(next))
		<-time.After(time.Second)
		synctest.Wait()
		if d, ok := decided(b.take())["a"]; !ok || d.Incarnation != 2 || d.Verdict == nil {
			t.Errorf("got %+v, %t: want a verdict about incarnation 2", d, ok)
		}
	})
}

// A decision stands until the feed has told all that the plan knew: the index is made anew
// from a read model that is ahead of the feed, and an older event must not undo what was
// bound since.
func TestRunIsNotTakenBackByOlderEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		letGo, first, at := make(chan struct{}), true, map[string]int{}
		b := &binder{bind: func(ds []scheduler.Decision) (stale []scheduler.Decision, err error) {
			mu.Lock()
			held := first
			first = false
			mu.Unlock()
			if held {
				<-letGo
			}
			mu.Lock()
			defer mu.Unlock()
			for _, d := range ds {
				switch _, there := at[d.PodID]; {
				case d.NodeID == "":
				case there || d.PodID == "a" && d.Incarnation < 3:
					stale = append(stale, d)
				default:
					at[d.PodID] = d.Incarnation
				}
			}
			return stale, nil
		}}
		st := start(t, b, putNodes(roomFor("n1", 2)))
		st.Apply(putPods(aPod("x"), aPod("a")))
		synctest.Wait() // their batch is being bound
		ended := aPod("z")
		ended.Status = api.PodSucceeded
		st.Apply(putPods(ended))
		synctest.Wait() // the watch holds this one event, and all that follow together
		for incarnation := 2; incarnation <= 3; incarnation++ {
			p := aPod("a")
			p.Incarnation = incarnation
			st.Apply(putPods(p))
		}
		urgent := aPod("urgent")
		urgent.Priority = 100
		st.Apply(putPods(urgent))
		st.Apply(store.Batch{Namespaces: store.Changes[api.Namespace]{Put: []api.Namespace{{Name: "other"}}}})
		close(letGo)
		synctest.Wait()
		<-time.After(50 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(at) > 2 {
			t.Errorf("%d pods bound to a node for 2: %v", len(at), at)
		}
	})
}
