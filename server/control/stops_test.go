package control_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// asked are the pods of each round that it is to be said of that they are late.
type asked struct {
	mu     sync.Mutex
	rounds [][]string
}

func (a *asked) tell(pods []api.Pod) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	for _, p := range pods {
		ids = append(ids, p.ID)
	}
	slices.Sort(ids)
	a.rounds = append(a.rounds, ids)
	return ids, nil
}

func (a *asked) take() [][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	rounds := a.rounds
	a.rounds = nil
	return rounds
}

func TestStopsThatTakeTooLongAreToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told asked
		st := run(t, &fake{lead: forEver, sweep: func() (int, error) { return 0, nil }, overdue: told.tell})
		const grace = 30
		now := time.Now()
		stopping := func(id string) api.Pod {
			return api.Pod{ID: id, Status: api.PodStopping, StopRequestedAt: &now, TerminationGracePeriodSeconds: grace}
		}
		evicted, runs, unknown, gone := stopping("evicted"), stopping("runs"), stopping("unknown"), stopping("gone")
		evicted.StopRequestedAt, evicted.Eviction = nil, &api.Eviction{Since: now, GraceSeconds: new(2 * grace)}
		runs.Status, runs.StopRequestedAt = api.PodRunning, nil
		unknown.Status = api.PodUnknown // its node is silent: the sweep decides
		st.Apply(store.Batch{Reset: true, Pods: store.Changes[api.Pod]{Put: []api.Pod{stopping("stopped"), evicted, runs, unknown, gone}}})
		st.Apply(store.Batch{Pods: store.Changes[api.Pod]{Delete: []string{gone.ID}}})
		<-time.After(grace*time.Second + pod.StopMargin - time.Second)
		if rounds := told.take(); len(rounds) != 0 {
			t.Fatalf("told %v before their time is over", rounds)
		}
		<-time.After(3 * time.Second)
		if rounds := told.take(); len(rounds) == 0 || !slices.Equal(rounds[0], []string{"stopped"}) {
			t.Fatalf("told %v, want the one whose time is over", rounds)
		}
		said := stopping("stopped")
		said.Reason = api.ReasonStopOverdue
		st.Apply(store.Batch{Pods: store.Changes[api.Pod]{Put: []api.Pod{said}}})
		synctest.Wait()
		told.take()
		<-time.After(2 * grace * time.Second)
		if ids := slices.Compact(slices.Concat(told.take()...)); !slices.Equal(ids, []string{"evicted"}) {
			t.Fatalf("told %v, want the eviction alone", ids)
		}
	})
}
