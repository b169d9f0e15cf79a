package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// bound is a world with a pod on a node.
type bound struct {
	*world
	owner access.Identity
	node  api.Node
	pod   api.Pod
}

func newBound(t *testing.T) *bound {
	t.Helper()
	w := newWorld(t)
	owner := w.user(t, api.RoleOperator, api.RoleDeveloper)
	n := w.node(t, owner, "n1").Node
	p := w.pod(t, owner, w.pack(t, w.user(t, api.RoleAdmin), "hello", "1.0.0").ID)
	w.bind(t, p, n.ID)
	return &bound{world: w, owner: owner, node: n, pod: p}
}

func (b *bound) key(attempt int) api.RunKey {
	return api.RunKey{PodID: b.pod.ID, Incarnation: b.pod.Incarnation, Attempt: attempt}
}

func (b *bound) report(t *testing.T, nodeID string, r ...wire.RunReport) (int, []wire.Refusal) {
	t.Helper()
	accepted, refused, err := b.ReportRuns(t.Context(), nodeID, r)
	if err != nil {
		t.Fatal(err)
	}
	return len(accepted), refused
}

func (b *bound) now(t *testing.T) api.Pod {
	t.Helper()
	return must(b.GetPod(t.Context(), b.owner, b.pod.ID))(t)
}

func TestARunFromStartToEnd(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	if p := b.now(t); p.Status != api.PodScheduled || p.NodeID == nil || *p.NodeID != b.node.ID || p.NodeName != "n1" || p.ScheduledAt == nil {
		t.Errorf("got %+v", p)
	}
	wanted := must(b.Wanted(t.Context(), b.node.ID))(t)
	if len(wanted) != 1 || wanted[0].Desire != wire.DesireRun || wanted[0].LastAttempt != 0 || wanted[0].Pod.BundleSHA256 != sha || wanted[0].Pod.OwnerID != b.owner.UserID {
		t.Errorf("got %+v", wanted)
	}
	if k := must(b.BundleFor(t.Context(), b.node.ID, b.pod.ID, 1))(t); k.BundleSHA256 != sha {
		t.Errorf("got %+v", k)
	}
	_, err := b.BundleFor(t.Context(), b.node.ID, b.pod.ID, 2)
	wantCode(t, err, fault.Stale)
	_, err = b.BundleFor(t.Context(), "x", b.pod.ID, 2)
	wantCode(t, err, fault.NotFound)

	at := time.Now().Add(-time.Second)
	for _, step := range []struct {
		r    wire.RunReport
		want api.PodStatus
	}{
		{wire.RunReport{RunKey: b.key(1), Status: api.RunStarting, At: at}, api.PodStarting},
		{wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true, At: at}, api.PodRunning},
		{wire.RunReport{
			RunKey: b.key(1), Status: api.RunExited, Reason: api.ReasonCrashLoopBackOff,
			Termination: &api.Termination{Reason: api.ReasonError, ExitCode: new(1), LastOutput: "boom\x00" + strings.Repeat("é", api.MaxLastOutput)},
		}, api.PodStarting},
		{wire.RunReport{RunKey: b.key(2), Status: api.RunRunning, Ready: true}, api.PodRunning},
		{wire.RunReport{
			RunKey: b.key(2), Status: api.RunExited, Final: true, At: time.Now().Add(time.Hour),
			Termination: &api.Termination{Reason: api.ReasonCompleted, ExitCode: new(0)},
		}, api.PodSucceeded},
	} {
		for range 2 { // the same fact again is accepted and changes nothing
			if n, refused := b.report(t, b.node.ID, step.r); n != 1 {
				t.Fatalf("%+v was refused: %v", step.r, refused)
			}
			if got := b.now(t).Status; got != step.want {
				t.Fatalf("after %s of attempt %d: got %s, want %s", step.r.Status, step.r.Attempt, got, step.want)
			}
		}
	}
	p := b.now(t)
	if p.Restarts != 1 || p.LastTermination == nil || p.LastTermination.Reason != api.ReasonCompleted || p.Reason != api.ReasonCompleted ||
		p.StoppedAt == nil || p.StoppedAt.After(time.Now().Add(time.Minute)) {
		t.Errorf("got %+v", p)
	}
	runs := must(b.PodRuns(t.Context(), b.owner, b.pod.ID))(t)
	if len(runs) != 2 || runs[1].Termination == nil || len(runs[1].Termination.LastOutput) > api.MaxLastOutput+4 ||
		runs[1].ReadyAt == nil || runs[1].FinishedAt == nil || runs[0].Attempt != 2 {
		t.Errorf("got %+v", runs)
	}
	// What comes after the end is refused.
	if n, _ := b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(2), Status: api.RunRunning}, wire.RunReport{RunKey: b.key(3), Status: api.RunStarting}); n != 0 {
		t.Error("an ended pod has moved")
	}
	if len(must(b.Wanted(t.Context(), b.node.ID))(t)) != 0 {
		t.Error("an ended pod is wanted")
	}
}

func TestForeignAndForgedReports(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	other := b.node2(t)
	b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true})
	later := b.key(1)
	later.Incarnation = 2
	for _, c := range []struct {
		name, node string
		r          wire.RunReport
		want       fault.Code
	}{
		{"another node's run", other, wire.RunReport{RunKey: b.key(1), Status: api.RunExited, Final: true}, fault.Forbidden},
		{"another node's pod", other, wire.RunReport{RunKey: b.key(2), Status: api.RunStarting}, fault.Forbidden},
		{"unknown pod", b.node.ID, wire.RunReport{RunKey: api.RunKey{PodID: api.NewID(), Incarnation: 1, Attempt: 1}, Status: api.RunStarting}, fault.NotFound},
		{"no id", b.node.ID, wire.RunReport{RunKey: api.RunKey{PodID: "'", Incarnation: 1, Attempt: 1}, Status: api.RunStarting}, fault.NotFound},
		{"no attempt", b.node.ID, wire.RunReport{RunKey: b.key(0), Status: api.RunStarting}, fault.NotFound},
		{"future incarnation", b.node.ID, wire.RunReport{RunKey: later, Status: api.RunStarting}, fault.Stale},
		{"backwards", b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunStarting}, fault.Stale},
		{"a node's death", b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunLost}, fault.Validation},
	} {
		n, refused := b.report(t, c.node, c.r)
		if n != 0 || len(refused) != 1 || refused[0].Code != string(c.want) || refused[0].Key != c.r.RunKey {
			t.Errorf("%s: got %d accepted, refused %v; want %s", c.name, n, refused, c.want)
		}
	}
	if got := b.now(t).Status; got != api.PodRunning {
		t.Errorf("got %s", got)
	}
	if _, _, err := b.ReportRuns(t.Context(), "x", nil); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
	_, _, err := b.ReportRuns(t.Context(), b.node.ID, make([]wire.RunReport, 1001))
	wantCode(t, err, fault.Validation)
	if n, _ := b.report(t, b.node.ID); n != 0 {
		t.Error("reports out of nothing")
	}
}

func (b *bound) node2(t *testing.T) string {
	t.Helper()
	return b.world.node(t, b.owner, "n2").Node.ID
}

func TestStoppingARunningPod(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true})
	p, purged, err := b.StopPod(t.Context(), b.owner, b.pod.ID)
	if err != nil || purged || p.Status != api.PodStopping {
		t.Fatalf("got %s, %v, %v", p.Status, purged, err)
	}
	if w := must(b.Wanted(t.Context(), b.node.ID))(t); len(w) != 1 || w[0].Desire != wire.DesireStop || w[0].LastAttempt != 1 || w[0].StopReason == "" {
		t.Errorf("got %+v", w)
	}
	b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunExited, Final: true, Termination: &api.Termination{Reason: api.ReasonStopped}})
	if got := b.now(t); got.Status != api.PodStopped || got.StoppedAt == nil {
		t.Errorf("got %+v", got)
	}
}

func TestBindRefusesWhatCameTooLate(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	w := b.world
	fresh, gone := w.pod(t, b.owner, b.pod.PackID), w.pod(t, b.owner, b.pod.PackID)
	if _, _, err := w.StopPod(t.Context(), b.owner, gone.ID); err != nil {
		t.Fatal(err)
	}
	_, err := w.Bind(t.Context(), []scheduler.Decision{{PodID: fresh.ID, Incarnation: 1, NodeID: b.node.ID}})
	wantCode(t, err, fault.Stale)
	verdict := &api.Verdict{Reason: api.ReasonUnschedulable, Message: "no room", PlanTime: time.Now(), Nodes: []api.NodeRefusal{{NodeName: "n1", Filter: "resources", Asked: 2, Free: 1}}}
	w.lead(t, func(ctx context.Context) {
		stale, err := w.Bind(ctx, []scheduler.Decision{
			{PodID: fresh.ID, Incarnation: 1, Verdict: verdict},
			{PodID: b.pod.ID, Incarnation: 1, NodeID: b.node.ID},
			{PodID: gone.ID, Incarnation: 1, NodeID: b.node.ID},
			{PodID: gone.ID, Incarnation: 1, Verdict: verdict},
		})
		if err != nil || len(stale) != 2 {
			t.Errorf("got stale %v, %v", stale, err)
		}
		v := must(w.Verdict(ctx, b.owner, fresh.ID))(t)
		if v == nil || v.Reason != verdict.Reason || len(v.Nodes) != 1 || v.Nodes[0].Asked != 2 {
			t.Errorf("got verdict %+v", v)
		}
		for _, d := range []scheduler.Decision{
			{PodID: fresh.ID, Incarnation: 2, NodeID: b.node.ID},
			{PodID: fresh.ID, Incarnation: 1, NodeID: api.NewID()},
		} {
			if stale, err := w.Bind(ctx, []scheduler.Decision{d}); err != nil || len(stale) != 1 {
				t.Errorf("%+v: got stale %v, %v", d, stale, err)
			}
		}
		must(w.UpdateNode(ctx, b.owner, b.node.ID, api.UpdateNodeRequest{Unschedulable: new(true)}))(t)
		d := []scheduler.Decision{{PodID: fresh.ID, Incarnation: 1, NodeID: b.node.ID}}
		if stale, err := w.Bind(ctx, d); err != nil || len(stale) != 1 {
			t.Errorf("cordoned: got stale %v, %v", stale, err)
		}
		must(w.UpdateNode(ctx, b.owner, b.node.ID, api.UpdateNodeRequest{Unschedulable: new(false)}))(t)
		if stale, err := w.Bind(ctx, d); err != nil || len(stale) != 0 {
			t.Errorf("got stale %v, %v", stale, err)
		}
		if v := must(w.Verdict(ctx, b.owner, fresh.ID))(t); v != nil {
			t.Errorf("a bound pod still has a verdict: %+v", v)
		}
	})
}

var _ scheduler.Binder = (*postgres.DB)(nil)

func runningReport(b *bound) wire.RunReport {
	return wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true}
}

func TestANewAttemptEndsTheOneBefore(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	at := time.Now()
	b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true, At: at})
	// The agent has lost its state and does not know of attempt 1 any more.
	b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(2), Status: api.RunRunning, Ready: true, At: at})
	end := func() api.Run {
		runs := must(b.PodRuns(t.Context(), b.owner, b.pod.ID))(t)
		for _, r := range runs {
			if r.Attempt == 1 {
				return r
			}
		}
		t.Fatalf("attempt 1 is not in %+v", runs)
		return api.Run{}
	}
	if r := end(); r.Status != api.RunExited || r.FinishedAt == nil || r.Termination == nil || r.Termination.Reason != api.ReasonAgentRestarted {
		t.Errorf("attempt 1 is %+v", r)
	}
	// It was only slow to tell.
	n, refused := b.report(t, b.node.ID, wire.RunReport{
		RunKey: b.key(1), Status: api.RunExited, At: at,
		Termination: &api.Termination{Reason: api.ReasonError, Message: "boom"},
	})
	if r := end(); n != 1 || len(refused) != 0 || r.Termination.Message != "boom" {
		t.Errorf("accepted %d, refused %v, attempt 1 is %+v", n, refused, r)
	}
	if p := b.now(t); p.Status != api.PodRunning || p.Restarts != 1 {
		t.Errorf("the pod is %s with %d restarts", p.Status, p.Restarts)
	}
}
