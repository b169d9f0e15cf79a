package placement

import (
	"slices"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

const classes = `
{kind: PriorityClass, metadata: {name: urgent}, value: 1000000, description: This priority class should be used for XYZ service pods only.}
---
{kind: PriorityClass, metadata: {name: urgent-nonpreempting}, value: 1000000, preemptionPolicy: Never}
---
{kind: PriorityClass, metadata: {name: middle}, value: 500}
---
{kind: PriorityClass, metadata: {name: low}, value: 10}
---
`

func sized(name, class, node string, cores string) string {
	return `{kind: Pod, metadata: {name: ` + name + `, labels: {name: ` + name + `}}, spec: {pack: web, priorityClassName: ` + class + `, nodeName: "` + node +
		`", resources: {requests: {cpu: "` + cores + `", memory: 16Mi}, limits: {cpu: "4"}}}}
---
`
}

// preemption is an example of who has to leave for a pod of four cores at most.
type preemption struct {
	name    string
	given   string
	pod     string
	victims []string // by name
	node    string   // which is nominated
	not     refusal  // as a dry run says
}

// https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
func TestPriorityAndPreemption(t *testing.T) {
	t.Parallel()
	const one = `{kind: Node, metadata: {name: node1}}
---
`
	const two = one + `{kind: Node, metadata: {name: node2}}
---
`
	full := classes + one + sized("a", "low", "node1", "2") + sized("b", "middle", "node1", "2")
	const short = "0/1 nodes are available: 1 Insufficient cpu."
	list := []preemption{
		{"a pod of a higher priority drives out the lowest", full, sized("new", "urgent", "", "2"), []string{"a"}, "node1", refusal{
			"CPU", short + " Preemption: 1 pod of lower priority leaves node1 for it.", "wait until 1 pod on node1 has stopped",
		}},
		{"as many as are needed, and no more", full + sized("c", "low", "node1", "0"), sized("new", "urgent", "", "4"), []string{"a", "b"}, "node1", refusal{
			"CPU", short + " Preemption: 2 pods of lower priority leave node1 for it.", "wait until 2 pods on node1 have stopped",
		}},
		{"Never waits", full, sized("new", "urgent-nonpreempting", "", "2"), nil, "", refusal{
			"CPU", short + " No preemption: its priority class urgent-nonpreempting has preemptionPolicy Never.", "free 2000m of cpu on node1",
		}},
		{"an equal priority stays", full, sized("new", "low", "", "1"), nil, "", refusal{"CPU", short, "free 1000m of cpu on node1"}},
		{
			"nobody leaves where it would not help", classes + one + sized("a", "urgent", "node1", "2") + sized("b", "low", "node1", "2"),
			sized("new", "urgent", "", "3"), nil, "",
			refusal{"CPU", short, "free 3000m of cpu on node1"},
		},
		{
			"the node where the least important leaves", classes + two + sized("a", "middle", "node1", "4") + sized("b", "low", "node2", "4"),
			sized("new", "urgent", "", "1"),
			[]string{"b"},
			"node2",
			refusal{
				"CPU", "0/2 nodes are available: 2 Insufficient cpu. Preemption: 1 pod of lower priority leaves node2 for it.",
				"wait until 1 pod on node2 has stopped",
			},
		},
		{
			"the node where fewer leave", classes + two + sized("a", "low", "node1", "2") + sized("b", "low", "node1", "2") + sized("c", "low", "node2", "4"),
			sized("new", "urgent", "", "4"),
			[]string{"c"},
			"node2",
			refusal{
				"CPU", "0/2 nodes are available: 2 Insufficient cpu. Preemption: 1 pod of lower priority leaves node2 for it.",
				"wait until 1 pod on node2 has stopped",
			},
		},
	}
	g := newGround(t)
	for _, ex := range list {
		t.Run(ex.name, func(t *testing.T) { g.preempts(t, ex) }) //nolint:paralleltest // they share the nodes of one cluster, one after the other
	}
}

func (g *ground) preempts(t *testing.T, ex preemption) {
	t.Helper()
	g.clear(t)
	g.given(t, ex.given)
	dry, would, err := g.admin.DryRunPod(t.Context(), *one(t, ex.pod).Pod)
	if err != nil {
		t.Fatal(err)
	}
	id := g.create(t, one(t, ex.pod))
	said := []string{ex.not.message}
	if ex.node != "" { // when it is looked at again
		said = append(said, strings.TrimSpace(ex.not.message[:strings.Index(ex.not.message, "Preemption:")])+" Pods of lower priority stop on "+ex.node+" to make room for it.")
	}
	p := g.wait(t, id, "to be told: "+ex.not.message, func(p api.Pod) bool { return p.NodeID != nil || slices.Contains(said, p.StatusMessage) })
	if p.NodeID != nil || p.Priority != dry.Priority {
		t.Errorf("the pod of priority %d is on %q, want it to wait", p.Priority, p.NodeName)
	}
	if v := would.Verdict; v == nil || v.Message != ex.not.message || v.Change != ex.not.change || v.Nodes[0].Filter != ex.not.filter {
		t.Errorf("a dry run says %+v, want %+v", v, ex.not)
	}
	var victims, named []string
	pods, err := g.admin.ListPods(t.Context(), api.PodQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		if slices.ContainsFunc(would.Victims, func(v api.Victim) bool { return v.PodID == p.ID }) {
			named = append(named, p.Labels["name"])
		}
		if p.Eviction == nil {
			continue
		}
		victims = append(victims, p.Labels["name"])
		if p.Eviction.Preemptor != id || p.Reason != api.ReasonPreempted || p.Status != api.PodStopping {
			t.Errorf("victim %s is %s (%s), told to leave for %s; want it stopping as Preempted for %s", p.Labels["name"], p.Status, p.Reason, p.Eviction.Preemptor, id)
		}
		history, err := g.admin.PodHistory(t.Context(), p.ID, 100, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(history, func(h api.PodHistoryEntry) bool {
			order, _ := h.Metadata["eviction"].(map[string]any)
			return h.Reason == api.ReasonPreempted && order["preemptor"] == id
		}) {
			t.Errorf("the history of victim %s does not say for whom it left: %+v", p.Labels["name"], history)
		}
	}
	slices.Sort(victims)
	slices.Sort(named)
	if !slices.Equal(victims, ex.victims) || !slices.Equal(named, ex.victims) {
		t.Errorf("%v were told to leave, and a dry run names %v, want %v", victims, named, ex.victims)
	}
	nominated := ""
	if p.NominatedNodeID != "" {
		n, err := g.admin.GetNode(t.Context(), p.NominatedNodeID)
		if err != nil {
			t.Fatal(err)
		}
		nominated = n.Name
	}
	if nominated != ex.node {
		t.Errorf("node %q is nominated, want %q", nominated, ex.node)
	}
}
