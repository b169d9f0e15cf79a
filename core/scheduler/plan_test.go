package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func plan(nodes []api.Node, pods []api.Pod) []scheduler.Decision {
	return scheduler.Plan(scheduler.Snapshot{Nodes: nodes, Pods: pods}, now)
}

func TestFilters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		node   func(*api.Node)
		pod    func(*api.Pod)
		filter string // that refuses; "" when the pod fits
		text   string
	}{
		{name: "fits"},
		{name: "universal", pod: func(p *api.Pod) { p.RuntimeTag = api.TagUniversal }},
		{"runtime", func(n *api.Node) { n.RuntimeType = api.RuntimeBrowser }, nil, "Runtime", "another runtime"},
		{"private", func(n *api.Node) { n.Shared, n.RegisteredBy = false, "bob" }, nil, "NodeAccess", "did not serve"},
		{"own", func(n *api.Node) { n.Shared, n.RegisteredBy = false, "ann" }, nil, "", ""},
		{"listed", func(n *api.Node) { n.Shared, n.RegisteredBy, n.Namespaces = false, "bob", []string{"default"} }, nil, "", ""},
		{
			"listed without membership",
			func(n *api.Node) { n.Shared, n.RegisteredBy, n.Namespaces = false, "eve", []string{"default"} },
			nil, "NodeAccess", "did not serve",
		},
		{
			"listed by a viewer",
			func(n *api.Node) { n.Shared, n.RegisteredBy, n.Namespaces = false, "vic", []string{"default"} },
			nil, "NodeAccess", "did not serve",
		},
		{"orphan", func(n *api.Node) { n.Shared = false }, func(p *api.Pod) { p.CreatedBy = "" }, "NodeAccess", ""},
		{"other name", nil, func(p *api.Pod) { p.Scheduling.NodeName = "n2" }, "NodeName", "requested node name"},
		{"same name", nil, func(p *api.Pod) { p.Scheduling.NodeName = "n1" }, "", ""},
		{"suspect", func(n *api.Node) { n.Status = api.NodeSuspect }, nil, "NodeReady", "not ready"},
		{"offline", func(n *api.Node) { n.Status = api.NodeOffline }, nil, "NodeReady", "offline"},
		{"draining", func(n *api.Node) { n.Status = api.NodeDraining }, nil, "NodeReady", "draining"},
		{"maintenance", func(n *api.Node) { n.Status = api.NodeMaintenance }, nil, "NodeReady", "in maintenance"},
		{"cordoned", func(n *api.Node) { n.Unschedulable = true }, nil, "Unschedulable", "unschedulable"},
		{"cordoned and tolerated", func(n *api.Node) { n.Unschedulable = true }, func(p *api.Pod) {
			p.Tolerations = []api.Toleration{{Key: "node.stark.io/unschedulable", Operator: api.TolerationExists, Effect: api.NoSchedule}}
		}, "", ""},
		{"cordoned, another effect tolerated", func(n *api.Node) { n.Unschedulable = true }, func(p *api.Pod) {
			p.Tolerations = []api.Toleration{{Key: "node.stark.io/unschedulable", Operator: api.TolerationExists, Effect: api.NoExecute}}
		}, "Unschedulable", "unschedulable"},
		{"taint", taint(api.NoSchedule), nil, "Taints", "untolerated taint {a: b}"},
		{"no execute", taint(api.NoExecute), nil, "Taints", "untolerated taint {a: b}"},
		{"soft taint", taint(api.PreferNoSchedule), nil, "", ""},
		{"tolerated", taint(api.NoSchedule), func(p *api.Pod) {
			p.Tolerations = []api.Toleration{{Key: "a", Operator: api.TolerationEqual, Value: "b"}}
		}, "", ""},
		{"selector", nil, func(p *api.Pod) { p.Scheduling.NodeSelector = map[string]string{"disk": "ssd"} }, "NodeSelector", "node selector"},
		{
			"selected", func(n *api.Node) { n.Labels = map[string]string{"disk": "ssd"} },
			func(p *api.Pod) { p.Scheduling.NodeSelector = map[string]string{"disk": "ssd"} }, "", "",
		},
		{"affinity", nil, func(p *api.Pod) {
			p.Scheduling.NodeAffinity = &api.NodeAffinity{Required: &api.NodeSelector{NodeSelectorTerms: []api.NodeSelectorTerm{
				{MatchExpressions: []api.Requirement{{Key: "disk", Operator: api.OpExists}}},
			}}}
		}, "NodeAffinity", "node affinity"},
		{"cpu", nil, func(p *api.Pod) { p.ResourceRequests.CPU = 901 }, "CPU", "Insufficient cpu"},
		{"memory", nil, func(p *api.Pod) { p.ResourceRequests.Memory = 1000 }, "Memory", "Insufficient memory"},
		{"storage", nil, func(p *api.Pod) { p.ResourceRequests.Storage = 2000 }, "Storage", "Insufficient storage"},
		{"pods", func(n *api.Node) { n.Allocatable.Pods = 1 }, nil, "Pods", "Too many pods"},
		{
			"nothing asked of a full node", func(n *api.Node) { n.Allocatable.CPU = 50 },
			func(p *api.Pod) { p.ResourceRequests.CPU = 0 }, "", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, p := aNode("n1"), aPod("p1")
			if tt.node != nil {
				tt.node(&n)
			}
			if tt.pod != nil {
				tt.pod(&p)
			}
			ds := scheduler.Plan(scheduler.Snapshot{
				Nodes: []api.Node{n}, Pods: []api.Pod{p, onNode(aPod("p0"), "n1")},
				Members: []api.NamespaceMember{
					{Namespace: "default", UserID: "bob", Role: api.RoleDeveloper},
					{Namespace: "default", UserID: "vic", Role: api.RoleViewer},
				},
			}, now)
			if len(ds) != 1 {
				t.Fatalf("got %d decisions, want 1", len(ds))
			}
			if tt.filter == "" {
				if ds[0].NodeID != "n1" {
					t.Fatalf("got %+v, want n1", ds[0].Verdict)
				}
				return
			}
			if ds[0].Verdict == nil {
				t.Fatalf("got node %s, want a verdict", ds[0].NodeID)
			}
			if got := ds[0].Verdict.Nodes[0].Filter; got != tt.filter {
				t.Errorf("got filter %s, want %s", got, tt.filter)
			}
			contains(t, ds[0].Verdict.Message, tt.text)
		})
	}
}

func taint(effect api.TaintEffect) func(*api.Node) {
	return func(n *api.Node) { n.Taints = []api.Taint{{Key: "a", Value: "b", Effect: effect}} }
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	n1, n2, n3 := aNode("n1"), aNode("n2"), aNode("n3")
	taint(api.NoSchedule)(&n3)
	big := aPod("p1")
	big.ResourceRequests.Memory = 1000
	ds := plan([]api.Node{n3, n2, n1}, []api.Pod{big, onNode(aPod("a"), "n1"), onNode(aPod("b"), "n2"), onNode(aPod("c"), "n2")})
	v := ds[0].Verdict
	want := "0/3 nodes are available: 2 Insufficient memory, 1 node(s) had untolerated taint {a: b}."
	if v.Message != want {
		t.Errorf("got %q, want %q", v.Message, want)
	}
	if v.Reason != api.ReasonWaitingForRoom || v.PlanTime != now || v.PodID != "p1" {
		t.Errorf("got %+v, want WaitingForRoom at the plan's time", v)
	}
	if want := "free 104 MiB of memory on n1"; v.Change != want {
		t.Errorf("got change %q, want %q", v.Change, want)
	}
	nearest := v.Nodes[0]
	if nearest.NodeName != "n1" || nearest.Asked != 1000 || nearest.Free != 896 {
		t.Errorf("got %+v first, want n1, which asked 1000 and had 896", nearest)
	}
}

func TestVerdictReasons(t *testing.T) {
	t.Parallel()
	huge := aPod("p1")
	huge.ResourceRequests.Memory = 5000
	browser := aNode("n2")
	browser.RuntimeType = api.RuntimeBrowser
	browser.Allocatable.Memory = 9000
	tests := []struct {
		name  string
		nodes []api.Node
		pod   api.Pod
		want  string
	}{
		{"no node", nil, aPod("p1"), api.ReasonWaitingForNode},
		{"too big", []api.Node{aNode("n1")}, huge, api.ReasonNeverFits},
		{"too big where it could run", []api.Node{aNode("n1"), browser}, huge, api.ReasonNeverFits},
		{"other runtime only", []api.Node{browser}, aPod("p1"), api.ReasonUnschedulable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := plan(tt.nodes, []api.Pod{tt.pod})[0].Verdict.Reason; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestVerdictNamesABoundedNumberOfNodes(t *testing.T) {
	t.Parallel()
	var nodes []api.Node
	for i := range scheduler.MaxVerdictNodes + 10 {
		n := aNode(fmt.Sprintf("n%03d", i))
		n.Unschedulable = true
		nodes = append(nodes, n)
	}
	v := plan(nodes, []api.Pod{aPod("p1")})[0].Verdict
	if len(v.Nodes) != scheduler.MaxVerdictNodes {
		t.Errorf("got %d nodes, want %d", len(v.Nodes), scheduler.MaxVerdictNodes)
	}
	contains(t, v.Message, "60 node(s) were unschedulable")
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	soft := aNode("n1")
	taint(api.PreferNoSchedule)(&soft)
	large := aNode("n3")
	large.Allocatable.CPU, large.Allocatable.Memory = 8000, 8192
	busy := []api.Pod{onNode(aPod("a"), "n1"), onNode(aPod("b"), "n1"), onNode(aPod("c"), "n2")}
	tests := []struct {
		name   string
		policy api.SchedulingPolicy
		nodes  []api.Node
		pods   []api.Pod
		want   string
	}{
		{"spread", api.PolicySpread, []api.Node{aNode("n1"), aNode("n2")}, busy, "n2"},
		{"spread by default", "", []api.Node{aNode("n1"), aNode("n2")}, busy, "n2"},
		{"spread ties go to more room", api.PolicySpread, []api.Node{aNode("n1"), large}, nil, "n3"},
		{"binpack", api.PolicyBinpack, []api.Node{aNode("n1"), aNode("n2")}, busy, "n1"},
		{"least loaded", api.PolicyLeastLoaded, []api.Node{aNode("n1"), large}, busy[:1], "n3"},
		{"prefer untainted", api.PolicyBinpack, []api.Node{soft, aNode("n2")}, busy, "n2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ds := scheduler.Plan(scheduler.Snapshot{
				Nodes: tt.nodes, Pods: append([]api.Pod{aPod("new")}, tt.pods...),
				Config: api.ClusterConfig{SchedulingPolicy: tt.policy},
			}, now)
			if ds[0].NodeID != tt.want {
				t.Errorf("got %s (%+v), want %s", ds[0].NodeID, ds[0].Scores, tt.want)
			}
			if ds[0].Score < 0 || ds[0].Score > scheduler.MaxScore || len(ds[0].Scores) < 2 {
				t.Errorf("got score %d of %+v, want 0 to 100 of policy and taints", ds[0].Score, ds[0].Scores)
			}
		})
	}
}

func TestRandomScatters(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for i := range 200 {
		ds := scheduler.Plan(scheduler.Snapshot{
			Nodes: []api.Node{aNode("n1"), aNode("n2")}, Pods: []api.Pod{aPod(fmt.Sprintf("p%d", i))},
			Config: api.ClusterConfig{SchedulingPolicy: api.PolicyRandom},
		}, now)
		seen[ds[0].NodeID]++
	}
	if seen["n1"] < 50 || seen["n2"] < 50 {
		t.Errorf("got %v, want both nodes used often", seen)
	}
}

func TestOrderIsPriorityThenAge(t *testing.T) {
	t.Parallel()
	old, young, urgent := aPod("c"), aPod("b"), aPod("a")
	old.CreatedAt, young.CreatedAt, urgent.CreatedAt = now, now.Add(time.Second), now.Add(time.Minute)
	urgent.Priority = 10
	stopped := aPod("d")
	stopped.StopRequestedAt = &now
	ds := plan([]api.Node{aNode("n1")}, []api.Pod{young, stopped, old, urgent})
	got := ""
	for _, d := range ds {
		got += d.PodID
	}
	if got != "acb" {
		t.Errorf("got order %q, want acb without the stopped one", got)
	}
}

func TestClusterBoundsPodsPerNode(t *testing.T) {
	t.Parallel()
	ds := scheduler.Plan(scheduler.Snapshot{
		Nodes: []api.Node{aNode("n1")}, Pods: []api.Pod{aPod("a"), aPod("b"), aPod("c")},
		Config: api.ClusterConfig{MaxPodsPerNode: 2},
	}, now)
	if ds[0].NodeID == "" || ds[1].NodeID == "" || ds[2].NodeID != "" {
		t.Errorf("got %+v, want two bound and one refused", ds)
	}
}
