package postgres_test

import (
	"slices"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Who sees a pod sees its figures, nobody else does, and a node tells of its own pods
// alone.
func TestPodUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, bob, staff := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper), w.user(t, api.RoleOperator)
	a, b := w.node(t, staff, "a").Node, w.node(t, staff, "b").Node
	k := w.pack(t, ann, "hello", "1.0.0")
	running := func(owner access.Identity, node string, labels map[string]string) api.Pod {
		t.Helper()
		p := must(w.CreatePod(ctx, owner, api.CreatePodRequest{PackID: k.ID, Labels: labels}))(t)
		w.bind(t, p, node)
		w.exec(t, "update public.pods set status = 'starting' where id = $1", p.ID)
		w.exec(t, "update public.pods set status = 'running' where id = $1", p.ID)
		return p
	}
	web := running(ann, a.ID, map[string]string{"app": "web"})
	quiet := running(ann, b.ID, nil)
	waiting := w.pod(t, ann, k.ID)
	figures := func(node string, all ...api.PodUsage) {
		t.Helper()
		err := w.StoreHealth(ctx, []postgres.NodeHealth{{NodeID: node, Session: map[string]string{a.ID: "a", b.ID: "b"}[node], Usage: &api.NodeUsage{CPU: new(api.Millicores(700)), Memory: new(api.Mebibytes(900)), Pods: all}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	figures(a.ID, api.PodUsage{PodID: web.ID, Incarnation: 2, CPU: new(api.Millicores(9))}, api.PodUsage{PodID: web.ID, Incarnation: 1, CPU: new(api.Millicores(50)), Memory: new(api.Mebibytes(60)), LoopDelayMS: 7},
		api.PodUsage{PodID: quiet.ID, Incarnation: 1, CPU: new(api.Millicores(999))}) // not its pod
	usage := func(who access.Identity, q api.UsageQuery) []api.PodFigures {
		t.Helper()
		return must(w.PodUsage(ctx, who, q))(t)
	}
	ids := func(list []api.PodFigures) []string {
		var out []string
		for _, f := range list {
			out = append(out, f.PodID)
		}
		return out
	}
	got := usage(ann, api.UsageQuery{})
	if !slices.Equal(ids(got), []string{quiet.ID, web.ID}) || got[0].Usage != nil {
		t.Fatalf("got %+v, want both, and no figures of a node that has told none", got)
	}
	if f := got[1]; f.Usage == nil || *f.Usage.CPU != 50 || *f.Usage.Memory != 60 || f.Usage.LoopDelayMS != 7 || f.Usage.At.IsZero() ||
		f.NodeName != "a" || f.PackName != "hello" || f.Namespace != "default" || f.Status != api.PodRunning || f.ResourceRequests.CPU == 0 {
		t.Errorf("got %+v with %+v", f, f.Usage)
	}
	if got := usage(bob, api.UsageQuery{}); len(got) != 0 {
		t.Errorf("a stranger sees %+v", got)
	}
	if got := usage(bob, api.UsageQuery{PodID: web.ID}); len(got) != 0 {
		t.Errorf("a stranger who knows the id sees %+v", got)
	}
	for name, q := range map[string]api.UsageQuery{
		"pod": {PodID: web.ID}, "node": {NodeID: a.ID}, "label": {LabelSelector: "app in (web,api)"}, "all": {PodID: web.ID, NodeID: a.ID, Namespace: "default", LabelSelector: "app"},
	} {
		if got := usage(staff, q); !slices.Equal(ids(got), []string{web.ID}) {
			t.Errorf("by %s: got %+v", name, got)
		}
	}
	status := func(pod string) *api.Figures {
		t.Helper()
		p, f, err := w.PodStatus(ctx, ann, pod)
		if err != nil || p.ID != pod {
			t.Fatalf("got pod %q, %v", p.ID, err)
		}
		return f
	}
	if f := status(web.ID); f == nil || *f.CPU != 50 || f.At.IsZero() {
		t.Errorf("got %+v", f)
	}
	if f, w := status(quiet.ID), status(waiting.ID); f != nil || w != nil {
		t.Errorf("pods of which nothing was told use %+v and %+v", f, w)
	}
	if _, _, err := w.PodStatus(ctx, bob, web.ID); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a stranger: %v", err)
	}
	if got := usage(staff, api.UsageQuery{Namespace: "other"}); len(got) != 0 {
		t.Errorf("of another namespace: %+v", got)
	}
	w.exec(t, "update stark.node_usage set at = now() - interval '61 seconds'")
	if got := usage(ann, api.UsageQuery{PodID: web.ID}); len(got) != 1 || got[0].Usage != nil {
		t.Errorf("old figures are shown as those of now: %+v", got)
	}
	if f := status(web.ID); f != nil {
		t.Errorf("old figures are told as those of now: %+v", f)
	}
	w.exec(t, "update public.cluster_config set heartbeat_interval_ms = 25000")
	if got := usage(ann, api.UsageQuery{PodID: web.ID}); len(got) != 1 || got[0].Usage == nil {
		t.Errorf("figures of a node that tells them rarely are not shown: %+v", got)
	}
	w.exec(t, "update public.pods set status = 'failed' where id = $1", web.ID)
	if f := status(web.ID); f != nil {
		t.Errorf("a pod that has ended uses %+v", f)
	}
}

func TestNodeUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	staff, viewer, nobody := w.user(t, api.RoleOperator), w.user(t), access.Identity{UserID: api.NewID()}
	a, b, gone := w.node(t, staff, "a").Node, w.node(t, staff, "b").Node, w.node(t, staff, "c").Node
	w.exec(t, "update public.nodes set status = 'offline' where id = $1", gone.ID)
	w.exec(t, `update public.nodes set labels = '{"zone":"x"}' where id = $1`, b.ID)
	pods := []api.PodUsage{{PodID: api.NewID(), Incarnation: 1, LoopDelayMS: 3}, {PodID: api.NewID(), Incarnation: 1, LoopDelayMS: 30}}
	if err := w.StoreHealth(ctx, []postgres.NodeHealth{{NodeID: b.ID, Session: "b", Usage: &api.NodeUsage{CPU: new(api.Millicores(700)), Memory: new(api.Mebibytes(900)), Pods: pods}}}); err != nil {
		t.Fatal(err)
	}
	got := must(w.NodeUsage(ctx, viewer, api.UsageQuery{}))(t)
	if len(got) != 2 || got[0].NodeName != "a" || got[0].Usage != nil || got[1].NodeName != "b" || got[1].Usage == nil {
		t.Fatalf("got %+v", got)
	}
	if f := got[1]; *f.Usage.CPU != 700 || *f.Usage.Memory != 900 || f.Usage.LoopDelayMS != 30 || f.Status != api.NodeOnline || f.RuntimeType != api.RuntimeNode || f.NodeID != b.ID {
		t.Errorf("got %+v with %+v", f, f.Usage)
	}
	for name, q := range map[string]api.UsageQuery{"node": {NodeID: b.ID}, "label": {LabelSelector: "zone=x"}} {
		if got := must(w.NodeUsage(ctx, viewer, q))(t); len(got) != 1 || got[0].NodeID != b.ID {
			t.Errorf("by %s: got %+v", name, got)
		}
	}
	if got := must(w.NodeUsage(ctx, nobody, api.UsageQuery{NodeID: a.ID}))(t); len(got) != 0 {
		t.Errorf("one without a role sees %+v", got)
	}
}
