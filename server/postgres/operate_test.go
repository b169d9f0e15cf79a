package postgres_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// taints gives the taints of the node as text.
func (b *bound) taints(t *testing.T) string {
	t.Helper()
	var all []string
	for _, taint := range must(b.GetNode(t.Context(), b.owner, b.node.ID))(t).Taints {
		all = append(all, taint.String())
	}
	return strings.Join(all, " ")
}

func (b *bound) patch(t *testing.T, r api.UpdateNodeRequest) api.Node {
	t.Helper()
	return must(b.UpdateNode(t.Context(), b.owner, b.node.ID, r))(t)
}

// intolerant makes one round of evictions and gives the pods that were told.
func (b *bound) intolerant(t *testing.T) []string {
	t.Helper()
	var told []string
	b.lead(t, func(ctx context.Context) { told = must(b.EvictIntolerant(ctx))(t) })
	return told
}

// runs makes a running pod on the node.
func (b *bound) runs(t *testing.T, r api.CreatePodRequest) api.Pod {
	t.Helper()
	r.PackID = b.pod.PackID
	p := must(b.CreatePod(t.Context(), b.owner, r))(t)
	b.bind(t, p, b.node.ID)
	b.report(t, b.node.ID, wire.RunReport{RunKey: api.RunKey{PodID: p.ID, Incarnation: 1, Attempt: 1}, Status: api.RunRunning, Ready: true})
	return must(b.GetPod(t.Context(), b.owner, p.ID))(t)
}

// ended reports the end of a pod's run on the node.
func (b *bound) ended(t *testing.T, p api.Pod) {
	t.Helper()
	b.report(t, b.node.ID, wire.RunReport{
		RunKey: api.RunKey{PodID: p.ID, Incarnation: p.Incarnation, Attempt: 1}, Status: api.RunExited, Final: true,
		Termination: &api.Termination{Reason: api.ReasonEvicted},
	})
}

func TestTheStateOfANodeIsItsTaints(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	own := []api.Taint{{Key: "gpu", Value: "a", Effect: api.NoSchedule}}
	b.patch(t, api.UpdateNodeRequest{Taints: &own})
	for _, step := range []struct{ sql, want string }{
		{"status = 'suspect'", "gpu=a:NoSchedule node.stark.io/not-ready:NoSchedule"},
		{"status = 'unhealthy'", "gpu=a:NoSchedule node.stark.io/unreachable:NoExecute"},
		{"status = 'online', unschedulable = true", "gpu=a:NoSchedule node.stark.io/unschedulable:NoSchedule"},
		{"unschedulable = false, maintenance = true", "gpu=a:NoSchedule node.stark.io/maintenance:NoExecute"},
		{
			`maintenance = false, conditions = '[{"type":"Hidden","status":true},{"type":"DiskPressure","status":true},{"type":"OnBattery","status":false}]'`,
			"gpu=a:NoSchedule node.stark.io/disk-pressure:NoSchedule node.stark.io/hidden:PreferNoSchedule",
		},
		{`conditions = '[{"type":"Ready","status":false}]'`, "gpu=a:NoSchedule node.stark.io/not-ready:NoExecute"},
		{"conditions = '[]', taints = '[]'", ""},
	} {
		b.exec(t, "update public.nodes set "+step.sql)
		if got := b.taints(t); got != step.want {
			t.Errorf("%s: got %q, want %q", step.sql, got, step.want)
		}
	}
	if n := must(b.GetNode(t.Context(), b.owner, b.node.ID))(t); n.Status != api.NodeOnline {
		t.Errorf("got %s", n.Status)
	}
	_, err := b.UpdateNode(t.Context(), b.owner, b.node.ID, api.UpdateNodeRequest{Taints: &[]api.Taint{{Key: "node.stark.io/maintenance", Effect: api.NoExecute}}})
	wantCode(t, err, fault.Validation)
	// What was read may be sent back, and means what somebody has set.
	n := b.patch(t, api.UpdateNodeRequest{Unschedulable: new(true)})
	n = b.patch(t, api.UpdateNodeRequest{Taints: &n.Taints})
	n = b.patch(t, api.UpdateNodeRequest{Unschedulable: new(false), Taints: &n.Taints})
	if len(n.Taints) != 0 {
		t.Errorf("got %v", n.Taints)
	}
}

func TestMaintenanceSurvivesALostNode(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	if n := b.patch(t, api.UpdateNodeRequest{Maintenance: new(true)}); n.Status != api.NodeMaintenance {
		t.Errorf("got %s", n.Status)
	}
	if told := b.intolerant(t); !slices.Equal(told, []string{b.pod.ID}) {
		t.Errorf("told %v", told)
	}
	b.exec(t, "update public.nodes set status = 'unhealthy'")
	if _, err := b.RenewLeases(t.Context(), []string{b.node.ID}, []string{"n1"}); err != nil {
		t.Fatal(err)
	}
	if n := must(b.GetNode(t.Context(), b.owner, b.node.ID))(t); n.Status != api.NodeMaintenance {
		t.Errorf("got %s", n.Status)
	}
	if n := b.patch(t, api.UpdateNodeRequest{Maintenance: new(false)}); n.Status != api.NodeOnline || len(n.Taints) != 0 {
		t.Errorf("got %+v", n)
	}
}

// those without a toleration leave, others stay, some for a while.
func TestNoExecuteEvictsWhoDoesNotTolerateIt(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	tolerate := func(seconds *int64) api.CreatePodRequest {
		return api.CreatePodRequest{Tolerations: []api.Toleration{{Key: "power", Operator: api.TolerationExists, TolerationSeconds: seconds}}}
	}
	stays, later := b.runs(t, tolerate(nil)), b.runs(t, tolerate(new(int64(60))))
	b.patch(t, api.UpdateNodeRequest{Taints: &[]api.Taint{{Key: "power", Effect: api.NoSchedule}}})
	if told := b.intolerant(t); len(told) != 0 {
		t.Errorf("a NoSchedule taint evicts %v", told)
	}
	b.patch(t, api.UpdateNodeRequest{Taints: &[]api.Taint{{Key: "power", Effect: api.NoExecute}}})
	if told := b.intolerant(t); !slices.Equal(told, []string{b.pod.ID}) {
		t.Errorf("told %v, want %s", told, b.pod.ID)
	}
	if told := b.intolerant(t); len(told) != 0 {
		t.Errorf("told again: %v", told)
	}
	// The time counts from when the taint was put there, whoever leads since.
	b.exec(t, `update public.nodes set taints = '[]'`)
	b.exec(t, `alter table public.nodes disable trigger nodes_taints`)
	b.exec(t, `update public.nodes set taints = jsonb_build_array(jsonb_build_object('key', 'power', 'effect', 'NoExecute', 'timeAdded', now() - interval '59 seconds'))`)
	if told := b.intolerant(t); len(told) != 0 {
		t.Errorf("told before its time: %v", told)
	}
	b.exec(t, `update public.nodes set taints = jsonb_build_array(jsonb_build_object('key', 'power', 'effect', 'NoExecute', 'timeAdded', now() - interval '61 seconds'))`)
	if told := b.intolerant(t); len(told) != 0 {
		t.Errorf("told who came when the taint was there, and has had no 60 seconds: %v", told)
	}
	b.exec(t, `update public.pods set scheduled_at = now() - interval '2 minutes'`)
	if told := b.intolerant(t); !slices.Equal(told, []string{later.ID}) {
		t.Errorf("told %v, want %s", told, later.ID)
	}
	if p := must(b.GetPod(t.Context(), b.owner, stays.ID))(t); p.Status != api.PodRunning {
		t.Errorf("got %+v", p)
	}
	if p := must(b.GetPod(t.Context(), b.owner, later.ID))(t); !strings.Contains(p.StatusMessage, "power:NoExecute") {
		t.Errorf("got %q", p.StatusMessage)
	}
	_, err := b.EvictIntolerant(t.Context())
	wantCode(t, err, fault.Stale)
}

func TestPodsSayHowLongTheyWaitForALostNode(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	away := func(seconds *int64) api.CreatePodRequest {
		return api.CreatePodRequest{Tolerations: []api.Toleration{{
			Key: "node.stark.io/unreachable", Operator: api.TolerationExists, Effect: api.NoExecute, TolerationSeconds: seconds,
		}}}
	}
	soon, never := b.runs(t, away(new(int64(5)))), b.runs(t, away(nil))
	old := postgres.SinceForTest(time.Now().Add(-time.Hour))
	sweep := func(silence string) postgres.SweepResult {
		var r postgres.SweepResult
		b.exec(t, "update stark.node_leases set renewed_at = now() - $1::text::interval", silence)
		b.lead(t, func(ctx context.Context) { r = must(b.SweepNodes(old(ctx)))(t) })
		return r
	}
	if r := sweep("32 seconds"); len(r.PodsUnknown) != 3 || len(r.PodsMoved) != 0 {
		t.Errorf("got %+v", r)
	}
	if r := sweep("40 seconds"); !slices.Equal(r.PodsMoved, []string{soon.ID}) {
		t.Errorf("got %+v", r)
	}
	if r := sweep("100 seconds"); !slices.Equal(r.PodsMoved, []string{b.pod.ID}) {
		t.Errorf("got %+v", r)
	}
	if p := must(b.GetPod(t.Context(), b.owner, never.ID))(t); p.Status != api.PodUnknown {
		t.Errorf("got %s", p.Status)
	}
}

// drained makes one round of the drains.
func (b *bound) drained(t *testing.T) postgres.DrainResult {
	t.Helper()
	var r postgres.DrainResult
	b.lead(t, func(ctx context.Context) { r = must(b.AdvanceDrains(ctx))(t) })
	return r
}

func (b *bound) drain(t *testing.T, r api.DrainNodeRequest) {
	t.Helper()
	if n := must(b.DrainNode(t.Context(), b.owner, b.node.ID, r))(t); n.Status != api.NodeDraining || !n.Unschedulable || n.Drain == nil || n.Drain.By != b.owner.UserID {
		t.Fatalf("got %+v", n)
	}
}

func (b *bound) blocks(t *testing.T, by access.Identity) []api.DrainBlock {
	t.Helper()
	_, blocks, err := b.NodeDrain(t.Context(), by, b.node.ID)
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

func (b *bound) state(t *testing.T) api.NodeDrain {
	t.Helper()
	n := must(b.GetNode(t.Context(), b.owner, b.node.ID))(t)
	if n.Drain == nil {
		return api.NodeDrain{}
	}
	return *n.Drain
}

func TestDrainEndsWhenEveryRunHasEnded(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	once := b.runs(t, api.CreatePodRequest{RestartPolicy: api.RestartNever})
	kept := b.runs(t, api.CreatePodRequest{Labels: map[string]string{"tier": "system"}})
	b.drain(t, api.DrainNodeRequest{GraceSeconds: new(7), IgnoreLabels: "tier=system"})
	if r := b.drained(t); !slices.Equal(r.Told, []string{b.pod.ID}) || len(r.Finished) != 0 {
		t.Fatalf("got %+v", r)
	}
	if s := b.state(t); s.Phase != api.Draining || s.Total != 2 || s.Remaining != 2 || s.Blocked != 1 {
		t.Errorf("got %+v", s)
	}
	blocks := b.blocks(t, b.owner)
	if len(blocks) != 1 || blocks[0].PodID != once.ID || blocks[0].Reason != api.BlockedByPolicy {
		t.Errorf("got %+v", blocks)
	}
	if got := b.blocks(t, b.user(t)); len(got) != 0 {
		t.Errorf("a stranger sees %+v", got)
	}
	if p := b.now(t); p.Eviction == nil || p.Eviction.By != b.owner.UserID || *p.Eviction.GraceSeconds != 7 {
		t.Errorf("got %+v", p.Eviction)
	}
	b.ended(t, b.pod)
	b.drained(t)
	b.drain(t, api.DrainNodeRequest{Force: true, IgnoreLabels: "tier=system"}) // on second thought
	if r := b.drained(t); !slices.Equal(r.Told, []string{once.ID}) {
		t.Fatalf("got %+v", r)
	}
	if r := b.drained(t); len(r.Finished) != 0 {
		t.Errorf("done while a run goes on: %+v", r)
	}
	b.ended(t, once)
	if r := b.drained(t); !slices.Equal(r.Finished, []string{b.node.ID}) {
		t.Fatalf("got %+v", r)
	}
	if s := b.state(t); s.Phase != api.Drained || s.Remaining != 0 || s.FinishedAt == nil {
		t.Errorf("got %+v", s)
	}
	if n := must(b.GetNode(t.Context(), b.owner, b.node.ID))(t); n.Status != api.NodeOnline || !n.Unschedulable {
		t.Errorf("got %s, %v", n.Status, n.Unschedulable)
	}
	if p := must(b.GetPod(t.Context(), b.owner, kept.ID))(t); p.Status != api.PodRunning {
		t.Errorf("got %+v", p)
	}
	if r := b.drained(t); len(r.Finished)+len(r.Told) != 0 {
		t.Errorf("an ended drain goes on: %+v", r)
	}
}

func TestDrainKeepsToTheBudget(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true})
	second, third := b.runs(t, api.CreatePodRequest{}), b.runs(t, api.CreatePodRequest{})
	b.exec(t, `update public.namespaces set disruption_budget = '{"maxUnavailable":1}' where name = 'default'`)
	b.drain(t, api.DrainNodeRequest{})
	r := b.drained(t)
	if len(r.Told) != 1 || b.state(t).Blocked != 2 {
		t.Fatalf("got %+v, %+v", r, b.state(t))
	}
	if blocks := b.blocks(t, b.owner); len(blocks) != 2 || blocks[0].Reason != api.BlockedByBudget || !strings.Contains(blocks[0].Message, "default allows 1") {
		t.Errorf("got %+v", blocks)
	}
	first := must(b.GetPod(t.Context(), b.owner, r.Told[0]))(t)
	b.ended(t, first)
	if r := b.drained(t); len(r.Told) != 0 {
		t.Errorf("the pod that was moved does not run yet: %+v", r)
	}
	// It comes to run on another node.
	other := b.node2(t)
	moved := must(b.GetPod(t.Context(), b.owner, first.ID))(t)
	b.bind(t, moved, other)
	b.report(t, other, wire.RunReport{RunKey: api.RunKey{PodID: moved.ID, Incarnation: 2, Attempt: 1}, Status: api.RunRunning, Ready: true})
	if r := b.drained(t); len(r.Told) != 1 || r.Told[0] == first.ID {
		t.Errorf("got %+v", r)
	}
	b.drain(t, api.DrainNodeRequest{IgnoreBudget: true})
	if r := b.drained(t); len(r.Told) != 1 {
		t.Errorf("got %+v", r)
	}
	_, _ = second, third
}

func TestDrainsEndByTimeAndByUncordon(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	once := b.runs(t, api.CreatePodRequest{RestartPolicy: api.RestartNever})
	b.drain(t, api.DrainNodeRequest{TimeoutSeconds: 60})
	b.exec(t, `update public.nodes set drain = drain || jsonb_build_object('deadline', now() - interval '1 second')`)
	if r := b.drained(t); len(r.Finished) != 1 || len(r.Told) != 0 {
		t.Errorf("got %+v", r)
	}
	if s := b.state(t); s.Phase != api.DrainTimedOut || s.Blocked != 1 {
		t.Errorf("got %+v", s)
	}
	b.drain(t, api.DrainNodeRequest{})
	if n := must(b.CancelDrain(t.Context(), b.owner, b.node.ID))(t); n.Drain != nil || !n.Unschedulable || n.Status != api.NodeOnline {
		t.Errorf("got %+v", n)
	}
	b.drain(t, api.DrainNodeRequest{})
	if n := b.patch(t, api.UpdateNodeRequest{Unschedulable: new(false)}); n.Drain != nil || n.Status != api.NodeOnline || len(n.Taints) != 0 {
		t.Errorf("got %+v", n)
	}
	if r := b.drained(t); len(r.Told) != 0 {
		t.Errorf("a cancelled drain goes on: %+v", r)
	}
	if p := must(b.GetPod(t.Context(), b.owner, once.ID))(t); p.Status != api.PodRunning {
		t.Errorf("got %+v", p)
	}
	// Only who may change the node may drain it, and a strange wish is refused.
	for _, who := range []access.Identity{b.user(t), b.user(t, api.RoleDeveloper)} {
		_, err := b.DrainNode(t.Context(), who, b.node.ID, api.DrainNodeRequest{})
		wantCode(t, err, fault.Forbidden)
	}
	_, err := b.DrainNode(t.Context(), b.owner, b.node.ID, api.DrainNodeRequest{TimeoutSeconds: 700000})
	wantCode(t, err, fault.Validation)
	_, err = b.AdvanceDrains(t.Context())
	wantCode(t, err, fault.Stale)
}
