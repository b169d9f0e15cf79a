package scheduler_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

// drawSnapshot makes a small random cluster.
func drawSnapshot(t *rapid.T) scheduler.Snapshot {
	s := scheduler.Snapshot{Config: api.ClusterConfig{
		MaxPodsPerNode: rapid.IntRange(0, 5).Draw(t, "maxPods"),
		SchedulingPolicy: rapid.SampledFrom([]api.SchedulingPolicy{
			"", api.PolicySpread, api.PolicyBinpack, api.PolicyRandom, api.PolicyLeastLoaded,
		}).Draw(t, "policy"),
	}}
	effects := []api.TaintEffect{api.NoSchedule, api.NoExecute, api.PreferNoSchedule}
	for i := range rapid.IntRange(0, 5).Draw(t, "nodes") {
		n := aNode(fmt.Sprintf("n%d", i))
		n.RuntimeType = rapid.SampledFrom([]api.RuntimeType{api.RuntimeNode, api.RuntimeBrowser}).Draw(t, "type")
		n.Status = rapid.SampledFrom(append(slices.Repeat([]api.NodeStatus{api.NodeOnline}, 4), api.NodeStatuses...)).Draw(t, "status")
		n.Unschedulable = rapid.IntRange(0, 5).Draw(t, "cordon") == 0
		n.Allocatable = api.Capacity{
			CPU: api.Millicores(rapid.IntRange(0, 1000).Draw(t, "cpu")), Memory: api.Mebibytes(rapid.IntRange(0, 1000).Draw(t, "mem")),
			Storage: 10, Pods: rapid.IntRange(0, 6).Draw(t, "slots"),
		}
		n.Shared = rapid.Bool().Draw(t, "shared")
		n.RegisteredBy = rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "owner")
		for range rapid.IntRange(0, 2).Draw(t, "taints") {
			n.Taints = append(n.Taints, api.Taint{
				Key: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"), Effect: rapid.SampledFrom(effects).Draw(t, "effect"),
			})
		}
		s.Nodes = append(s.Nodes, n)
	}
	for i := range rapid.IntRange(0, 12).Draw(t, "pods") {
		p := aPod(fmt.Sprintf("p%d", i))
		p.RuntimeTag = rapid.SampledFrom([]api.RuntimeTag{api.TagNode, api.TagBrowser, api.TagUniversal}).Draw(t, "tag")
		p.CreatedBy = rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "by")
		p.Priority = int32(rapid.IntRange(-2, 2).Draw(t, "priority"))
		p.ResourceRequests = api.Resources{
			CPU: api.Millicores(rapid.IntRange(0, 600).Draw(t, "ask")), Memory: api.Mebibytes(rapid.IntRange(0, 600).Draw(t, "askmem")),
		}
		if rapid.Bool().Draw(t, "tolerates") {
			p.Tolerations = []api.Toleration{{Key: "a", Operator: api.TolerationExists}}
		}
		if len(s.Nodes) > 0 && rapid.IntRange(0, 3).Draw(t, "live") == 0 {
			p.Status = rapid.SampledFrom(api.PodStatuses).Draw(t, "podStatus")
			p.NodeID = new(rapid.SampledFrom(s.Nodes).Draw(t, "on").ID)
		}
		s.Pods = append(s.Pods, p)
	}
	return s
}

func TestPlanProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSnapshot(t)
		ds := scheduler.Plan(s, now)
		if again := scheduler.Plan(shuffled(t, s), now); !reflect.DeepEqual(ds, again) {
			t.Fatalf("the same cluster in another order gave another plan:\n%+v\n%+v", ds, again)
		}
		pods, nodes, decided := map[string]api.Pod{}, map[string]api.Node{}, map[string]bool{}
		for _, n := range s.Nodes {
			nodes[n.ID] = n
		}
		for _, p := range s.Pods {
			pods[p.ID] = p
		}
		used, before := usage(s.Pods), usage(s.Pods)
		for _, d := range ds {
			p := pods[d.PodID]
			if p.Status != api.PodPending || decided[d.PodID] {
				t.Fatalf("pod %s is %s and decided %v", p.ID, p.Status, decided[d.PodID])
			}
			decided[d.PodID] = true
			if (d.NodeID == "") == (d.Verdict == nil) {
				t.Fatalf("pod %s has not exactly one of node and verdict", p.ID)
			}
			if d.Verdict != nil {
				checkVerdict(t, s, d)
				continue
			}
			checkPlace(t, p, nodes[d.NodeID])
			u := used[d.NodeID]
			used[d.NodeID] = api.Capacity{CPU: u.CPU + p.ResourceRequests.CPU, Memory: u.Memory + p.ResourceRequests.Memory, Pods: u.Pods + 1}
		}
		for _, p := range s.Pods {
			if p.Status == api.PodPending && !decided[p.ID] {
				t.Fatalf("pod %s has neither node nor verdict", p.ID)
			}
		}
		for id, u := range used {
			n, b := nodes[id], before[id]
			if u.CPU > max(n.Allocatable.CPU, b.CPU) || u.Memory > max(n.Allocatable.Memory, b.Memory) || u.Pods > max(n.Allocatable.Pods, b.Pods) {
				t.Fatalf("node %s is overcommitted: %+v of %+v, before %+v", id, u, n.Allocatable, b)
			}
		}
	})
}

func checkPlace(t *rapid.T, p api.Pod, n api.Node) {
	if n.Status != api.NodeOnline || n.Unschedulable && !toleratesCordon(p) || !p.RuntimeTag.Fits(n.RuntimeType) {
		t.Fatalf("pod %+v was bound to %+v", p, n)
	}
	if !n.Shared && n.RegisteredBy != p.CreatedBy {
		t.Fatalf("pod of %s was bound to the private node of %s", p.CreatedBy, n.RegisteredBy)
	}
	if taint, bad := api.Untolerated(n.Taints, p.Tolerations, api.NoSchedule, api.NoExecute); bad {
		t.Fatalf("pod %s does not tolerate %+v", p.ID, taint)
	}
}

func checkVerdict(t *rapid.T, s scheduler.Snapshot, d scheduler.Decision) {
	if len(d.Verdict.Nodes) != len(s.Nodes) || d.Verdict.Message == "" {
		t.Fatalf("the verdict %+v does not explain %d nodes", d.Verdict, len(s.Nodes))
	}
	if (d.Verdict.Reason == api.ReasonWaitingForNode) != (len(s.Nodes) == 0) {
		t.Fatalf("got %s with %d nodes", d.Verdict.Reason, len(s.Nodes))
	}
}

func usage(pods []api.Pod) map[string]api.Capacity {
	used := map[string]api.Capacity{}
	for _, p := range pods {
		if p.NodeID == nil || p.Status == api.PodPending || p.Status.Terminal() {
			continue
		}
		u := used[*p.NodeID]
		used[*p.NodeID] = api.Capacity{CPU: u.CPU + p.ResourceRequests.CPU, Memory: u.Memory + p.ResourceRequests.Memory, Pods: u.Pods + 1}
	}
	return used
}

func shuffled(t *rapid.T, s scheduler.Snapshot) scheduler.Snapshot {
	s.Nodes = rapid.Permutation(s.Nodes).Draw(t, "nodeOrder")
	s.Pods = rapid.Permutation(s.Pods).Draw(t, "podOrder")
	return s
}
