package scheduler

import (
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stark-orchestrator/stark/shared/api"
)

// TestIndexKeepsUpWithChanges changes an index object by object, and compares what it
// plans with the plan of one that was made at once.
func TestIndexKeepsUpWithChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(Snapshot{})
		nodes, pods := map[string]api.Node{}, map[string]api.Pod{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			name := fmt.Sprintf("n%d", rapid.IntRange(0, 4).Draw(t, "node"))
			id := fmt.Sprintf("p%d", rapid.IntRange(0, 9).Draw(t, "pod"))
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				delete(nodes, name)
				x.deleteNode(name)
			case 1, 2, 3:
				n := changingNode(t, name)
				nodes[name] = n
				x.putNode(&n)
			case 4:
				delete(pods, id)
				x.deletePod(id)
			default:
				p := changingPod(t, id)
				pods[id] = p
				x.putPod(&p)
			}
			if rapid.Bool().Draw(t, "ask") { // so that columns and terms are there before the next change
				asked := changingPod(t, "asked")
				x.filter(x.queryFor(&asked))
			}
		}
		var s Snapshot
		for _, n := range nodes {
			s.Nodes = append(s.Nodes, n)
		}
		var pending []*api.Pod
		for _, p := range pods {
			s.Pods = append(s.Pods, p)
			if waiting(&p) {
				pending = append(pending, &p)
			}
		}
		checkFamilies(t, x)
		now := time.Unix(1000, 0)
		got, want := x.plan(inOrder(pending), now), Plan(s, now)
		for i := range got {
			got[i].seen, want[i].seen = nil, nil
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("the index planned\n%+v\nand a new one\n%+v", got[i], want[i])
			}
		}
	})
}

// checkFamilies holds the families to the pods of the index.
func checkFamilies(t *rapid.T, x *index) {
	members, placed := map[*family]int{}, map[*family]int{}
	for id, e := range x.pods {
		members[e.family]++
		if e.family != x.families[e.family.key] || e.family.namespace != e.pod.Namespace || !maps.Equal(e.family.labels, e.pod.Labels) {
			t.Fatalf("%s is in family %q", id, e.family.key)
		}
		if e.slot == noSlot || !holding(e.pod) {
			continue
		}
		placed[e.family]++
		if int(e.at) >= len(e.family.placed) || e.family.placed[e.at] != e {
			t.Fatalf("%s is not at %d of its family's", id, e.at)
		}
	}
	for key, f := range x.families {
		if f.pods == 0 || f.pods != members[f] || len(f.placed) != placed[f] {
			t.Fatalf("family %q has %d pods, %d placed, want %d and %d", key, f.pods, len(f.placed), members[f], placed[f])
		}
	}
}

func changingNode(t *rapid.T, name string) api.Node {
	n := api.Node{
		ID: name, Name: name, RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Shared: true, Labels: map[string]string{},
		Allocatable: api.Capacity{CPU: api.Millicores(rapid.IntRange(1, 5).Draw(t, "cpu") * 100), Memory: 1000, Pods: rapid.IntRange(1, 5).Draw(t, "slots")},
	}
	if z := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "zone"); z != "" {
		n.Labels["zone"] = z
	}
	if rapid.IntRange(0, 3).Draw(t, "tainted") == 0 {
		n.Taints = []api.Taint{{Key: "k", Effect: rapid.SampledFrom([]api.TaintEffect{api.NoSchedule, api.PreferNoSchedule}).Draw(t, "effect")}}
	}
	return n
}

func changingPod(t *rapid.T, id string) api.Pod {
	p := api.Pod{
		ID: id, PackID: rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "pack"), RuntimeTag: api.TagNode, Namespace: rapid.SampledFrom([]string{"default", "other"}).Draw(t, "namespace"), Incarnation: 1,
		Status: rapid.SampledFrom([]api.PodStatus{api.PodPending, api.PodPending, api.PodRunning, api.PodStopping, api.PodStopped}).Draw(t, "status"),
		Labels: map[string]string{"app": rapid.SampledFrom([]string{"a", "b"}).Draw(t, "app")}, CreatedAt: time.Unix(900, 0),
		ResourceRequests: api.Resources{CPU: 100, Memory: 10},
	}
	node := fmt.Sprintf("n%d", rapid.IntRange(0, 4).Draw(t, "on"))
	if p.Status != api.PodPending {
		p.NodeID = &node
	} else if rapid.IntRange(0, 4).Draw(t, "nominated") == 0 {
		p.NominatedNodeID = node
	}
	same := &api.LabelSelector{MatchLabels: p.Labels}
	term := api.PodAffinityTerm{LabelSelector: same, TopologyKey: "zone"}
	switch rapid.IntRange(0, 6).Draw(t, "wish") {
	case 0:
		p.Scheduling.PodAntiAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{term}}
	case 1:
		p.Scheduling.PodAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{term}}
	case 2:
		p.Scheduling.PodAffinity = &api.PodAffinity{Preferred: []api.WeightedPodAffinityTerm{{Weight: 7, PodAffinityTerm: term}}}
	case 3:
		p.Scheduling.TopologySpreadConstraints = []api.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: "zone", LabelSelector: same}}
	}
	return p
}
