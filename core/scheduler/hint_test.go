package scheduler_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

// hinted is a pod that one node, n1 in zone a, does not take as it is.
func hinted() (n api.Node, p api.Pod) {
	n, p = aNode("n1"), aPod("p1")
	n.Labels = map[string]string{"zone": "a", "cores": "4"}
	p.Labels = map[string]string{"app": "web"}
	return n, p
}

func term(key string) api.PodAffinityTerm {
	return api.PodAffinityTerm{TopologyKey: key, LabelSelector: &api.LabelSelector{MatchLabels: map[string]string{"app": "store"}}}
}

func required(rs ...api.Requirement) api.Scheduling {
	return api.Scheduling{NodeAffinity: &api.NodeAffinity{Required: &api.NodeSelector{NodeSelectorTerms: []api.NodeSelectorTerm{{MatchExpressions: rs}}}}}
}

// The change that a verdict proposes is worded in full, and where it is made the pod
// fits.
func TestWhatWouldHelpDoes(t *testing.T) {
	t.Parallel()
	type snapshot = scheduler.Snapshot
	node := func(s *snapshot) *api.Node { return &s.Nodes[0] }
	pod := func(s *snapshot) *api.Pod { return &s.Pods[0] }
	store := func(s *snapshot) { s.Pods = append(s.Pods, labelled(onNode(aPod("there"), "n1"), "app", "store")) }
	tests := []struct {
		name   string
		change func(*snapshot)
		want   string
		make   func(*snapshot)
	}{
		{
			"several things at once", func(s *snapshot) {
				node(s).Unschedulable = true
				node(s).Taints = []api.Taint{{Key: "node.stark.io/unschedulable", Effect: api.NoSchedule}, {Key: "gpu", Value: "yes", Effect: api.NoSchedule}}
				pod(s).ResourceRequests.CPU = 1001
			},
			"uncordon n1; tolerate {gpu: yes} of n1, or take that taint away; ask for at most 1000m of cpu, or add a larger node", func(s *snapshot) {
				node(s).Unschedulable, node(s).Taints = false, nil
				pod(s).ResourceRequests.CPU = 1000
			},
		},
		{
			"all taints", func(s *snapshot) {
				node(s).Taints = []api.Taint{{Key: "a", Value: "1", Effect: api.NoSchedule}, {Key: "a", Value: "1", Effect: api.NoExecute}, {Key: "b", Effect: api.NoSchedule}}
			},
			"tolerate {a: 1}, {b: } of n1, or take those taints away", func(s *snapshot) {
				pod(s).Tolerations = []api.Toleration{{Key: "a", Operator: api.TolerationExists}, {Key: "b", Operator: api.TolerationExists}}
			},
		},
		{
			"a taint of the cluster", func(s *snapshot) {
				node(s).Taints = []api.Taint{{Key: "node.stark.io/hidden", Effect: api.NoSchedule}}
			},
			"tolerate {node.stark.io/hidden: } of n1, or wait until it is over", func(s *snapshot) { node(s).Taints = nil },
		},
		{
			"a drain", func(s *snapshot) {
				node(s).Status, node(s).Unschedulable = api.NodeDraining, true
				node(s).Taints = []api.Taint{{Key: "node.stark.io/unschedulable", Effect: api.NoSchedule}}
			},
			"uncordon n1", func(s *snapshot) { node(s).Status, node(s).Unschedulable, node(s).Taints = api.NodeOnline, false, nil },
		},
		{
			"maintenance", func(s *snapshot) {
				node(s).Status, node(s).Taints = api.NodeMaintenance, []api.Taint{{Key: "node.stark.io/maintenance", Effect: api.NoExecute}}
			},
			"end the maintenance of n1", func(s *snapshot) { node(s).Status, node(s).Taints = api.NodeOnline, nil },
		},
		{
			"a node that is away", func(s *snapshot) {
				node(s).Status, node(s).Taints = api.NodeOffline, []api.Taint{{Key: "node.stark.io/unreachable", Effect: api.NoExecute}}
			},
			"bring n1 back online; it is offline", func(s *snapshot) { node(s).Status, node(s).Taints = api.NodeOnline, nil },
		},
		{
			"another runtime", func(s *snapshot) { node(s).RuntimeType = api.RuntimeBrowser },
			"add a node that runs packs for node", func(s *snapshot) { s.Nodes = append(s.Nodes, aNode("n2")) },
		},
		{
			"a private node", func(s *snapshot) { node(s).Shared, node(s).RegisteredBy = false, "bob" },
			"have n1 shared, or its owner list namespace default", func(s *snapshot) { node(s).Shared = true },
		},
		{
			"a private node whose owner looks only", func(s *snapshot) {
				node(s).Shared, node(s).RegisteredBy, node(s).Namespaces = false, "bob", []string{"default"}
			},
			"make the owner of n1 a member of namespace default, more than a viewer", func(s *snapshot) {
				s.Members = []api.NamespaceMember{{Namespace: "default", UserID: "bob", Role: api.RoleDeveloper}}
			},
		},
		{
			"the name of no node", func(s *snapshot) { pod(s).Scheduling.NodeName = "n9" },
			"name a node that is there, such as n1: there is no n9", func(s *snapshot) { pod(s).Scheduling.NodeName = "n1" },
		},
		{
			"node selector", func(s *snapshot) {
				pod(s).Scheduling.NodeSelector = map[string]string{"disk": "ssd", "zone": "b", "cores": "4"}
			},
			"label n1 with disk=ssd,zone=b", func(s *snapshot) { node(s).Labels["disk"], node(s).Labels["zone"] = "ssd", "b" },
		},
		{
			"node affinity", func(s *snapshot) {
				pod(s).Scheduling = required(
					api.Requirement{Key: "zone", Operator: api.OpIn, Values: []string{"b", "c"}}, api.Requirement{Key: "cores", Operator: api.OpGt, Values: []string{"4"}},
				)
			},
			"label n1 with zone as one of b, c; label n1 with cores above 4", func(s *snapshot) { node(s).Labels = map[string]string{"zone": "c", "cores": "5"} },
		},
		{
			"node affinity of another kind", func(s *snapshot) {
				pod(s).Scheduling = required(
					api.Requirement{Key: "zone", Operator: api.OpNotIn, Values: []string{"a"}}, api.Requirement{Key: "disk", Operator: api.OpExists},
				)
			},
			"take the label zone off n1; label n1 with disk", func(s *snapshot) { node(s).Labels = map[string]string{"disk": ""} },
		},
		{
			"the nearest of two terms", func(s *snapshot) {
				pod(s).Scheduling = required(api.Requirement{Key: "a", Operator: api.OpExists}, api.Requirement{Key: "b", Operator: api.OpExists})
				terms := &pod(s).Scheduling.NodeAffinity.Required.NodeSelectorTerms
				*terms = append(*terms, api.NodeSelectorTerm{MatchExpressions: []api.Requirement{{Key: "cores", Operator: api.OpLt, Values: []string{"4"}}}})
			},
			"label n1 with cores below 4", func(s *snapshot) { node(s).Labels["cores"] = "3" },
		},
		{
			"an empty term", func(s *snapshot) { pod(s).Scheduling = required() },
			"give the pod's node affinity a term with conditions: no node meets an empty one", func(s *snapshot) {
				pod(s).Scheduling = required(api.Requirement{Key: "zone", Operator: api.OpExists})
			},
		},
		{
			"affinity", func(s *snapshot) {
				pod(s).Scheduling.PodAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{term("zone")}}
			},
			"run a pod with app=store where zone is a", store,
		},
		{
			"affinity to another namespace", func(s *snapshot) {
				far := term("zone")
				far.Namespaces, far.NamespaceSelector = []string{"shop"}, &api.LabelSelector{MatchLabels: map[string]string{"team": "b"}}
				pod(s).Scheduling.PodAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{far}}
			},
			"run a pod with app=store in namespace shop or a namespace with team=b where zone is a", func(s *snapshot) {
				store(s)
				s.Pods[1].Namespace = "shop"
			},
		},
		{
			"affinity by a label that the node lacks", func(s *snapshot) {
				store(s)
				pod(s).Scheduling.PodAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{term("rack")}}
			},
			"label n1 with rack, by which the pod's affinity tells near from far", func(s *snapshot) { node(s).Labels["rack"] = "1" },
		},
		{
			"anti-affinity", func(s *snapshot) {
				store(s)
				pod(s).Scheduling.PodAntiAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{term("zone")}}
			},
			"stop the pod with app=store where zone is a, or add a node elsewhere", func(s *snapshot) { s.Pods[1].Status = api.PodStopped },
		},
		{
			"anti-affinity of others", func(s *snapshot) {
				alone := term("zone")
				alone.LabelSelector.MatchLabels["app"] = "web"
				for _, id := range []string{"a", "b"} {
					p := onNode(aPod(id), "n1")
					p.Scheduling.PodAntiAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{alone}}
					s.Pods = append(s.Pods, p)
				}
			},
			"stop the 2 pods that will not have it near where zone is a, or add a node elsewhere", func(s *snapshot) { s.Pods = s.Pods[:1] },
		},
		{
			"a label to spread by", func(s *snapshot) { pod(s).Scheduling.TopologySpreadConstraints = spreading("rack", nil) },
			"label n1 with rack, by which the pod is spread", func(s *snapshot) { node(s).Labels["rack"] = "1" },
		},
		{
			"too large a skew", func(s *snapshot) {
				s.Pods = append(s.Pods, labelled(onNode(aPod("x"), "n1"), "app", "web"))
				s.Nodes = append(s.Nodes, aNode("n2"))
				s.Nodes[1].Labels, s.Nodes[1].Unschedulable = map[string]string{"zone": "b"}, true
				pod(s).Scheduling.TopologySpreadConstraints = spreading("zone", nil)
			},
			"allow a maxSkew of 2 by zone, or make room where it has fewer pods", func(s *snapshot) { pod(s).Scheduling.TopologySpreadConstraints[0].MaxSkew = 2 },
		},
		{
			"too few domains", func(s *snapshot) {
				s.Pods = append(s.Pods, labelled(onNode(aPod("x"), "n1"), "app", "web"))
				pod(s).Scheduling.TopologySpreadConstraints = spreading("zone", new(2))
			},
			"add a node with another zone: there are 1, and minDomains asks for 2", func(s *snapshot) {
				s.Nodes = append(s.Nodes, aNode("n2"))
				s.Nodes[1].Labels = map[string]string{"zone": "b"}
			},
		},
		{
			"no place for a pod", func(s *snapshot) {
				node(s).Allocatable.Pods = 1
				s.Pods = append(s.Pods, onNode(aPod("x"), "n1"))
			},
			"free a place for one more pod on n1", func(s *snapshot) { s.Pods = s.Pods[:1] },
		},
		{
			"a node that takes no pods", func(s *snapshot) { node(s).Allocatable.Pods = 0 },
			"add another node: n1 takes no pods at all", func(s *snapshot) { s.Nodes = append(s.Nodes, aNode("n2")) },
		},
		{
			"the node where least is amiss", func(s *snapshot) {
				node(s).Taints = []api.Taint{{Key: "a", Effect: api.NoSchedule}}
				s.Nodes = append(s.Nodes, aNode("n2"))
				s.Nodes[1].Allocatable.CPU, s.Nodes[1].Allocatable.Memory, s.Nodes[1].Labels = 10, 10, map[string]string{"zone": "b"}
				pod(s).Scheduling.NodeSelector = map[string]string{"zone": "b"}
				s.Nodes[1].Unschedulable = true
				node(s).Labels["zone"] = "b"
			},
			"tolerate {a: } of n1, or take that taint away", func(s *snapshot) { node(s).Taints = nil },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, p := hinted()
			s := snapshot{Nodes: []api.Node{n}, Pods: []api.Pod{p}}
			tt.change(&s)
			v := scheduler.Plan(s, now)[0].Verdict
			if v == nil || v.Change != tt.want {
				t.Fatalf("got %+v,\nwant the change %q", v, tt.want)
			}
			tt.make(&s)
			if d := scheduler.Plan(s, now)[0]; d.NodeID == "" {
				t.Errorf("it was made, and still: %s To fit: %s", d.Verdict.Message, d.Verdict.Change)
			}
		})
	}
}

func labelled(p api.Pod, key, value string) api.Pod {
	p.Labels = map[string]string{key: value}
	return p
}

func spreading(key string, domains *int) []api.TopologySpreadConstraint {
	return []api.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: key, MinDomains: domains, LabelSelector: &api.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
	}}
}
