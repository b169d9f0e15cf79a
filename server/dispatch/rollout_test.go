package dispatch_test

import (
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// rollingTo is the pod in incarnation 1 with another version on its way.
func rollingTo(incarnation int) api.Pod {
	p := podOn("n1", api.PodRunning)
	p.Rollout = &api.Rollout{PackID: p.PackID, PackVersion: "1.0.0", Incarnation: incarnation}
	return p
}

func refs(runs []wire.PodRef) []int {
	var list []int
	for _, r := range runs {
		list = append(list, r.Incarnation)
	}
	return list
}

func (p *peer) wantDelta(t *testing.T, put, remove []int, what string) wire.RunsDelta {
	t.Helper()
	var d wire.RunsDelta
	p.expect(wire.TypeRunsDelta, &d)
	var puts []int
	for _, a := range d.Put {
		puts = append(puts, a.Incarnation)
	}
	if !equal(puts, put) || !equal(refs(d.Remove), remove) {
		t.Fatalf("%s: got put %v, remove %v, want put %v, remove %v", what, puts, refs(d.Remove), put, remove)
	}
	return d
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// A node runs the next incarnation beside the present one, and the present one goes
// when the next has become the pod, without a word that could stop that one.
func TestTheNextIncarnationRunsBesideThePresentOne(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p, _ := r.agent(t)
	r.store.Apply(put(podOn("n1", api.PodRunning)))
	p.wantDelta(t, []int{1}, nil, "a pod")
	r.store.Apply(put(rollingTo(2)))
	if d := p.wantDelta(t, []int{2}, nil, "a rollout"); d.Put[0].Desire != wire.DesireRun || d.Put[0].LastAttempt != 0 {
		t.Errorf("got %+v", d.Put[0])
	}
	done := podOn("n1", api.PodRunning)
	done.Incarnation = 2
	r.store.Apply(put(done))
	p.wantDelta(t, []int{2}, []int{1}, "a rollout that is done")

	again := done
	again.Rollout = &api.Rollout{PackID: done.PackID, Incarnation: 3}
	r.store.Apply(put(again))
	p.wantDelta(t, []int{3}, nil, "another rollout")
	again.Rollout = &api.Rollout{PackID: done.PackID, Incarnation: 4}
	r.store.Apply(put(again))
	p.wantDelta(t, []int{4}, []int{3}, "another target")
	again.Status, again.Rollout, again.StopRequestedAt = api.PodStopping, nil, new(time.Now())
	r.store.Apply(put(again))
	if d := p.wantDelta(t, []int{2}, []int{4}, "a stop"); d.Put[0].Desire != wire.DesireStop {
		t.Errorf("got %+v", d.Put[0])
	}
}

// Whether a rollout has ended or the read model has not heard of it yet, only the
// database knows: nothing is ended on a suspicion.
func TestALaggingReadModelEndsNoRollout(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.wanted = func() ([]wire.Assignment, error) {
		return []wire.Assignment{
			{PodID: podID, Incarnation: 1, Desire: wire.DesireRun}, {PodID: podID, Incarnation: 2, Desire: wire.DesireRun},
		}, nil
	}
	r := newRig(t, db, dispatch.Config{})
	p, set := r.agent(t)
	if len(set.Runs) != 2 {
		t.Fatalf("got %+v, want both", set)
	}
	lagging := podOn("n1", api.PodRunning)
	lagging.PackVersion = "9.9.9" // so that the present one changes too
	r.store.Apply(put(lagging))
	var whole wire.RunsSet
	if p.expect(wire.TypeRunsSet, &whole); len(whole.Runs) != 2 {
		t.Errorf("got %+v, want both again", whole)
	}
}
