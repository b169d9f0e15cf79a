package scheduler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// crowd is more pods than one pass waits for to be bound.
const crowd = 600

func crowdOf(prefix string, n int) []api.Pod {
	pods := make([]api.Pod, n)
	for i := range pods {
		pods[i] = aPod(fmt.Sprintf("%s%04d", prefix, i))
	}
	return pods
}

func roomFor(name string, pods int) api.Node {
	n := aNode(name)
	n.Allocatable = api.Capacity{CPU: 1e9, Memory: 1e9, Storage: 1e9, Pods: pods}
	return n
}

// held is a Binder whose first call waits until it is let go, with an outcome.
type held struct {
	binder
	letGo chan bindOutcome
	first atomic.Bool
}

type bindOutcome struct {
	stale func(scheduler.Decision) bool
	err   error
}

func holding() *held {
	h := &held{letGo: make(chan bindOutcome)}
	h.bind = func(ds []scheduler.Decision) (stale []scheduler.Decision, err error) {
		if !h.first.CompareAndSwap(false, true) {
			return nil, nil
		}
		out := <-h.letGo
		for _, d := range ds {
			if out.stale != nil && out.stale(d) {
				stale = append(stale, d)
			}
		}
		return stale, out.err
	}
	return h
}

func decided(calls [][]scheduler.Decision) map[string]scheduler.Decision {
	all := map[string]scheduler.Decision{}
	for _, call := range calls {
		for _, d := range call {
			all[d.PodID] = d
		}
	}
	return all
}

// What happens to the pods of a crowd while it is bound is taken in, and what the binding
// of it brings back does not undo that.
func TestRunTakesInWhatHappensWhileACrowdIsBound(t *testing.T) {
	t.Parallel()
	const gone, again, stays = "a0000", "a0001", "a0002"
	for name, out := range map[string]bindOutcome{
		"bound": {},
		"stale": {stale: func(d scheduler.Decision) bool { return d.PodID == gone || d.PodID == again }},
		"fails": {err: errors.New("no database")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := holding()
				st := start(t, &h.binder, putNodes(roomFor("n1", 10*crowd)))
				st.Apply(putPods(crowdOf("a", crowd)...))
				synctest.Wait()
				if calls := h.take(); len(calls) != 1 || len(calls[0]) != crowd {
					t.Fatalf("got %d calls, want one of the crowd", len(calls))
				}
				restarted := aPod(again)
				restarted.Incarnation = 2
				st.Apply(store.Batch{Pods: store.Changes[api.Pod]{Put: []api.Pod{restarted}, Delete: []string{gone}}})
				st.Apply(putPods(crowdOf("b", crowd)...))
				st.Apply(putPods(crowdOf("c", crowd)...))
				synctest.Wait()
				h.letGo <- out
				<-time.After(time.Minute)
				synctest.Wait()
				all := decided(h.take())
				if d, ok := all[gone]; ok {
					t.Errorf("decided on a pod that is gone: %+v", d)
				}
				if d := all[again]; d.Incarnation != 2 || d.NodeID != "n1" {
					t.Errorf("got %+v, want the pod bound in its new incarnation", d)
				}
				if _, ok := all[stays]; ok != (out.err != nil) {
					t.Errorf("decided again on a pod that stayed: %t, want %t", ok, out.err != nil)
				}
				for _, id := range []string{"b0000", "c0000"} {
					if d := all[id]; d.NodeID != "n1" {
						t.Errorf("got %+v, want the next parts of the crowd bound", d)
					}
				}
			})
		})
	}
}

// The room of a crowd that is still being bound is taken.
func TestRunKeepsTheRoomOfACrowdThatIsBeingBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := holding()
		st := start(t, &h.binder, putNodes(roomFor("n1", crowd+1)))
		st.Apply(putPods(crowdOf("a", crowd)...))
		synctest.Wait()
		st.Apply(putPods(crowdOf("b", crowd)...))
		synctest.Wait()
		h.letGo <- bindOutcome{}
		synctest.Wait()
		placed := 0
		for _, d := range decided(h.take()) {
			if d.NodeID != "" {
				placed++
			}
		}
		if placed != crowd+1 {
			t.Errorf("placed %d pods on a node for %d", placed, crowd+1)
		}
	})
}

// What a pass had not come to when the binding failed is planned again as well.
func TestRunForgetsNoPodOfACrowdThatCouldNotBeBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		b := &binder{bind: func([]scheduler.Decision) ([]scheduler.Decision, error) {
			if calls.Add(1) <= 2 {
				return nil, errTable
			}
			return nil, nil
		}}
		const pods = 9000
		st := start(t, b, putNodes(roomFor("n1", pods)))
		st.Apply(putPods(crowdOf("a", pods)...))
		synctest.Wait()
		b.take()
		<-time.After(time.Minute)
		synctest.Wait()
		if n := len(decided(b.take())); n != pods {
			t.Errorf("decided on %d of %d pods", n, pods)
		}
	})
}

// table is a database of pods for the scheduler: it binds what is still as the plan saw it,
// and shows its rows to the read model later. Sometimes it fails, before or after it bound.
type table struct {
	t    *testing.T
	st   *store.Store
	rng  *rand.Rand
	mu   sync.Mutex
	pods map[string]api.Pod
	room map[string]int
	told map[string]bool // pods that the read model is not told of yet
	rest bool            // nothing happens any more

	tight bool // there is less room than is asked for
}

var errTable = errors.New("no database")

func (b *table) bind(ds []scheduler.Decision) (stale []scheduler.Decision, err error) {
	b.mu.Lock()
	// What was bound although it failed is not known of before the read model shows it, and
	// its room is taken for free until then: only where there is more than enough.
	before, after := b.rng.IntN(8) == 0, b.rng.IntN(8) == 0 && !b.tight
	wait := time.Duration(b.rng.IntN(100)) * time.Millisecond
	b.mu.Unlock()
	<-time.After(wait)
	if before {
		return nil, errTable
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range ds {
		p, ok := b.pods[d.PodID]
		if !ok && b.rest {
			b.t.Errorf("pod %s is gone, and decided on", d.PodID)
		}
		if d.NodeID == "" {
			continue
		}
		if !ok || p.Incarnation != d.Incarnation || p.Status != api.PodPending {
			stale = append(stale, d)
			continue
		}
		if b.room[d.NodeID]--; b.room[d.NodeID] < 0 {
			b.t.Errorf("node %s has more pods than it has room for", d.NodeID)
		}
		p.Status, p.NodeID = api.PodScheduled, &d.NodeID
		b.pods[p.ID], b.told[p.ID] = p, true
	}
	if after {
		return nil, errTable
	}
	return stale, nil
}

// tell shows the read model what has changed.
func (b *table) tell() {
	b.mu.Lock()
	var c store.Changes[api.Pod]
	for id := range b.told {
		if p, ok := b.pods[id]; ok {
			c.Put = append(c.Put, p)
		} else {
			c.Delete = append(c.Delete, id)
		}
	}
	clear(b.told)
	b.mu.Unlock()
	b.st.Apply(store.Batch{Pods: c})
}

// disturb deletes and restarts some pods that wait.
func (b *table) disturb() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.sorted() {
		p := b.pods[id]
		if p.Status != api.PodPending {
			continue
		}
		switch b.rng.IntN(50) {
		case 0:
			delete(b.pods, id)
		case 1:
			p.Incarnation++
			b.pods[id] = p
		case 2:
			p.Labels = map[string]string{"changed": "yes"}
			b.pods[id] = p
		default:
			continue
		}
		b.told[id] = true
	}
}

func (b *table) sorted() []string {
	ids := make([]string, 0, len(b.pods))
	for id := range b.pods {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Whatever happens while crowds are planned and bound, in the end each pod has a node while
// there is room, no node has more than it has room for, and what is gone is forgotten.
func TestRunBindsEachPodOfACrowdOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				room := 5 * crowd
				if seed%2 == 1 {
					room = 2 * crowd // less than is asked for
				}
				b := &table{
					t: t, rng: rand.New(rand.NewPCG(seed, 0)), pods: map[string]api.Pod{},
					room: map[string]int{"n1": room, "n2": room}, told: map[string]bool{}, tight: seed%2 == 1,
				}
				b.st = start(t, &binder{bind: b.bind}, putNodes(roomFor("n1", room), roomFor("n2", room)))
				steps := rand.New(rand.NewPCG(seed, 1)) // the other one is shared with the binder
				for part := range 5 {
					b.mu.Lock()
					for _, p := range crowdOf(string(rune('a'+part)), crowd+steps.IntN(crowd)) {
						b.pods[p.ID], b.told[p.ID] = p, true
					}
					b.mu.Unlock()
					for range 1 + steps.IntN(3) {
						b.tell()
						<-time.After(time.Duration(steps.IntN(40)) * time.Millisecond)
						b.disturb()
					}
				}
				for second := range 120 { // longer than any back-off
					b.tell()
					<-time.After(time.Second)
					b.mu.Lock()
					b.rest = second > 60
					b.mu.Unlock()
				}
				b.mu.Lock()
				defer b.mu.Unlock()
				for id, p := range b.pods {
					if p.NodeID == nil && b.room["n1"]+b.room["n2"] > 0 {
						t.Errorf("pod %s waits", id)
					}
				}
			})
		})
	}
}

// A batch with verdicts is bound by itself: those who bind check disruption budgets against
// what is stored, and would not see what another batch takes away.
func TestRunBindsABatchWithVerdictsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var open, refusing, together atomic.Int32
		b := &binder{bind: func(ds []scheduler.Decision) ([]scheduler.Decision, error) {
			if slices.ContainsFunc(ds, func(d scheduler.Decision) bool { return d.NodeID == "" }) {
				refusing.Add(1)
				defer refusing.Add(-1)
			}
			if n := open.Add(1); n > 1 {
				together.Store(max(n, together.Load()))
				if refusing.Load() > 0 {
					t.Error("a batch with verdicts is bound beside another")
				}
			}
			defer open.Add(-1)
			<-time.After(time.Second)
			return nil, nil
		}}
		const pods, room = 30_000, 20_000
		st := start(t, b, putNodes(roomFor("n1", room)))
		st.Apply(putPods(crowdOf("a", pods)...))
		<-time.After(time.Minute)
		synctest.Wait()
		if n := len(decided(b.take())); n != pods {
			t.Errorf("decided on %d of %d pods", n, pods)
		}
		if together.Load() != 2 {
			t.Errorf("at most %d batches were bound at once, want 2", together.Load())
		}
	})
}
