package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/namespace"
	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Between the plan and the write others may have left: then the budget is asked again.
func TestPreemptionAsksTheBudgetAgain(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	w := b.world
	other, urgent := w.pod(t, b.owner, b.pod.PackID), w.pod(t, b.owner, b.pod.PackID)
	w.bind(t, other, b.node.ID)
	for _, status := range []string{"starting", "running"} {
		b.exec(t, "update public.pods set status = $1::text::public.pod_status where id = any ($2::text[]::uuid[])", status, []string{b.pod.ID, other.ID})
	}
	preempt := func(budget string, victims ...api.Pod) (refused bool) {
		t.Helper()
		b.exec(t, "update public.namespaces set disruption_budget = $1::text::jsonb where name = 'default'", budget)
		d := scheduler.Decision{
			PodID: urgent.ID, Incarnation: 1, NominatedNodeID: b.node.ID,
			Verdict: &api.Verdict{Reason: api.ReasonWaitingForRoom, Message: "soon", Change: "wait", PlanTime: time.Now()},
		}
		for _, v := range victims {
			d.Victims = append(d.Victims, scheduler.Victim{PodID: v.ID, Incarnation: v.Incarnation})
		}
		w.lead(t, func(ctx context.Context) {
			stale, err := w.Bind(ctx, []scheduler.Decision{d})
			if err != nil {
				t.Error(err)
			}
			refused = len(stale) > 0
		})
		return refused
	}
	if !preempt(`{"maxUnavailable":0}`, b.pod) {
		t.Error("a namespace that may lose nobody lost a pod")
	}
	if !preempt(`{"maxUnavailable":1}`, b.pod, other) {
		t.Error("a namespace that may lose one pod lost two at once")
	}
	if preempt(`{"maxUnavailable":1}`, b.pod) {
		t.Error("a namespace that may lose one pod could not")
	}
	if !preempt(`{"maxUnavailable":1}`, other) {
		t.Error("a namespace that may lose one pod lost a second one")
	}
	if preempt(`{"maxUnavailable":2}`, other) {
		t.Error("a namespace that may lose two pods could not lose the second")
	}
}

// A preemption and a drain of one leader work beside each other, and keep to one budget
// together, whichever of them has to wait for the other, or for somebody else.
func TestPreemptionAndDrainKeepToOneBudget(t *testing.T) {
	t.Parallel()
	const hold = "select from public.pods where id = $1::text::uuid for no key update"
	for name, test := range map[string]struct {
		hold           string // what somebody else holds for a while, of the pod that is named
		victim         bool   // that of the preemption, and not the one on the drained node
		drain, preempt bool   // who comes upon it; who does not is through before it is let go
	}{
		"the preemption waits for its victim": {hold: hold, victim: true, preempt: true},
		"the drain waits for its pod":         {hold: hold, drain: true},
		"both are about to count":             {hold: "select " + postgres.DisruptionLockSQL + " where $1::text is not null", drain: true, preempt: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDisruption(t)
			held := d.pod.ID
			if test.victim {
				held = d.victim.ID
			}
			busy := d.begin(t)
			if _, err := busy.Exec(t.Context(), test.hold, held); err != nil {
				t.Fatal(err)
			}
			d.lead(t, func(ctx context.Context) {
				var waiting sync.WaitGroup
				waiters := 0
				run := func(waits bool, f func(context.Context, *testing.T)) {
					if !waits {
						return
					}
					waiters++
					waiting.Go(func() { f(ctx, t) })
				}
				run(test.preempt, d.preempt)
				run(test.drain, d.advance)
				d.awaitBlocked(ctx, t, busy, waiters)
				if !test.preempt {
					d.preempt(ctx, t)
				}
				if !test.drain {
					d.advance(ctx, t)
				}
				if err := busy.Commit(t.Context()); err != nil {
					t.Error(err)
				}
				waiting.Wait()
			})
			if n := d.unavailable(t); n != 1 {
				t.Errorf("%d pods are unavailable of a namespace that may lose one, want that one", n)
			}
			d.lead(t, func(ctx context.Context) {
				d.preempt(ctx, t)
				d.advance(ctx, t)
			})
			if n := d.unavailable(t); n != 1 {
				t.Errorf("later %d pods are unavailable", n)
			}
		})
	}
}

// A pod that has become ready since a drain looked is told to leave as one that runs.
func TestDrainCountsWhoHasBecomeReadyMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	b.exec(t, `update public.namespaces set disruption_budget = '{"maxUnavailable":0}' where name = 'default'`)
	b.drain(t, api.DrainNodeRequest{})
	busy := b.begin(t)
	for _, status := range []string{"starting", "running"} {
		if _, err := busy.Exec(t.Context(), "update public.pods set status = $2::text::public.pod_status where id = $1", b.pod.ID, status); err != nil {
			t.Fatal(err)
		}
	}
	b.lead(t, func(ctx context.Context) {
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if r, err := b.AdvanceDrains(ctx); err != nil || len(r.Told) > 0 {
				t.Errorf("told %v of a namespace that may lose nobody, %v", r.Told, err)
			}
		})
		b.awaitBlocked(ctx, t, busy, 1)
		if err := busy.Commit(t.Context()); err != nil {
			t.Error(err)
		}
		waiting.Wait()
	})
	_, blocks, err := b.NodeDrain(t.Context(), b.owner, b.node.ID)
	if err != nil || len(blocks) != 1 || blocks[0].Reason != api.BlockedByBudget {
		t.Errorf("got %+v, %v, want that the budget keeps the pod", blocks, err)
	}
}

// disruption is a namespace that may lose one of its two pods, which run on two nodes: one
// of them is drained, and from the other a pod is to be driven out.
type disruption struct {
	*bound
	victim api.Pod
	told   scheduler.Decision
}

func newDisruption(t *testing.T) *disruption {
	t.Helper()
	b := newBound(t)
	other := b.node2(t)
	victim, urgent := b.world.pod(t, b.owner, b.pod.PackID), b.world.pod(t, b.owner, b.pod.PackID)
	b.bind(t, victim, other)
	for _, status := range []string{"starting", "running"} {
		b.exec(t, "update public.pods set status = $1::text::public.pod_status where id = any ($2::text[]::uuid[])", status, []string{b.pod.ID, victim.ID})
	}
	b.exec(t, `update public.namespaces set disruption_budget = '{"maxUnavailable":1}' where name = 'default'`)
	b.drain(t, api.DrainNodeRequest{})
	return &disruption{b, victim, scheduler.Decision{
		PodID: urgent.ID, Incarnation: 1, NominatedNodeID: other,
		Verdict: &api.Verdict{Reason: api.ReasonWaitingForRoom, Message: "soon", Change: "wait", PlanTime: time.Now()},
		Victims: []scheduler.Victim{{PodID: victim.ID, Incarnation: 1, Namespace: "default"}},
	}}
}

func (d *disruption) preempt(ctx context.Context, t *testing.T) {
	t.Helper()
	if _, err := d.Bind(ctx, []scheduler.Decision{d.told}); err != nil {
		t.Errorf("preempt: %v", err)
	}
}

func (d *disruption) advance(ctx context.Context, t *testing.T) {
	t.Helper()
	if _, err := d.AdvanceDrains(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
}

func (d *disruption) unavailable(t *testing.T) int {
	t.Helper()
	return value[int](t, d.world, "select count(*) from public.pods p where namespace = 'default' and status = any ('{running,stopping}') and "+postgres.UnavailableSQL)
}

// The rule of budgets stands in Go and in SQL, and says the same in both.
func TestUnavailableIsOneRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, status := range api.PodStatuses {
		for i := range 8 {
			p := api.Pod{Status: status, Incarnation: 1 + i&1}
			if i&2 != 0 {
				p.StopRequestedAt = new(time.Now())
			}
			if i&4 != 0 {
				p.Eviction = &api.Eviction{Reason: api.ReasonEvicted}
			}
			var got bool
			if err := w.conn.QueryRow(t.Context(), `select `+postgres.UnavailableSQL+` from (
				select $1::text::public.pod_status as status, $2::integer as incarnation, $3::timestamptz as stop_requested_at, $4::jsonb as eviction) p`,
				string(status), p.Incarnation, p.StopRequestedAt, p.Eviction).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != namespace.Unavailable(p) {
				t.Errorf("%s, incarnation %d, stop %v, eviction %v: SQL says %t", status, p.Incarnation, p.StopRequestedAt, p.Eviction, got)
			}
		}
	}
}
