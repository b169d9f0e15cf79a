package postgres_test

import (
	"context"
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
