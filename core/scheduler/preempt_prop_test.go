package scheduler_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

// TestPreemptionProperties: victims have lower priority, may be disturbed, are all on
// the nominated node, make room for the pod with those that leave it anyway, and none of
// them could have stayed.
func TestPreemptionProperties(t *testing.T) {
	t.Parallel()
	happened := 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawFull(t)
		s.Config.EnablePreemption = true
		s.PriorityClasses = []api.PriorityClass{{Name: "meek", PreemptionPolicy: api.PreemptNever}}
		s.Namespaces[0].DisruptionBudget = &api.DisruptionBudget{MaxUnavailable: rapid.IntRange(0, 2).Draw(t, "budget")}
		pending := order(s.Pods)
		if len(pending) == 0 {
			return
		}
		p := pending[0]
		p.Priority, p.PriorityClassName = 100, rapid.SampledFrom([]string{"", "", "meek"}).Draw(t, "class")
		s.Pods = slices.DeleteFunc(s.Pods, func(o api.Pod) bool { return o.Status == api.PodPending })
		s.Pods = append(s.Pods, p)
		d := scheduler.Plan(s, now)[0]
		r := &reference{s: s, pods: s.Pods}
		if len(d.Victims) == 0 {
			return
		}
		happened++
		if len(r.fits(p)) > 0 || p.PriorityClassName == "meek" {
			t.Fatalf("%v are to leave for a pod that fits or may not preempt", d.Victims)
		}
		checkVictims(t, r, p, d)
		for _, n := range s.Nodes {
			left := slices.DeleteFunc(slices.Clone(s.Pods), func(o api.Pod) bool { return leavesAnyway(o, n.ID) })
			if slices.Contains((&reference{s: s, pods: left}).fits(p), n.ID) {
				t.Fatalf("%v are to leave, and the pod fits on %s when those have gone that leave it anyway", d.Victims, n.ID)
			}
		}
	})
	if happened == 0 {
		t.Error("no drawn cluster led to a preemption")
	}
}

func checkVictims(t *rapid.T, r *reference, p api.Pod, d scheduler.Decision) {
	var running int
	for _, v := range d.Victims {
		at := slices.IndexFunc(r.s.Pods, func(o api.Pod) bool { return o.ID == v.PodID })
		o := r.s.Pods[at]
		if o.Priority >= p.Priority || *o.NodeID != d.NominatedNodeID || o.Status == api.PodStopping {
			t.Fatalf("%+v may not be a victim of %+v on %s", o, p, d.NominatedNodeID)
		}
		if o.Namespace == "default" && o.Status == api.PodRunning {
			running++
		}
	}
	budget := r.s.Namespaces[0].DisruptionBudget.MaxUnavailable
	for _, o := range r.s.Pods {
		if o.Namespace == "default" && holds(o) && o.Status != api.PodRunning {
			budget--
		}
	}
	if running > max(budget, 0) {
		t.Fatalf("%d running pods leave a namespace that can lose %d", running, budget)
	}
	without := func(spared string) bool {
		left := slices.DeleteFunc(slices.Clone(r.s.Pods), func(o api.Pod) bool {
			return leavesAnyway(o, d.NominatedNodeID) || o.ID != spared && slices.ContainsFunc(d.Victims, func(v scheduler.Victim) bool { return v.PodID == o.ID })
		})
		return slices.Contains((&reference{s: r.s, pods: left}).fits(p), d.NominatedNodeID)
	}
	if !without("") {
		t.Fatalf("the pod does not fit on %s when %+v have left", d.NominatedNodeID, d.Victims)
	}
	for _, v := range d.Victims {
		if without(v.PodID) {
			t.Fatalf("%s could have stayed", v.PodID)
		}
	}
}

// leavesAnyway reports whether a pod leaves a node without being driven out.
func leavesAnyway(p api.Pod, node string) bool {
	return p.NodeID != nil && *p.NodeID == node && p.Status == api.PodStopping
}

// drawFull makes a cluster whose nodes are about full.
func drawFull(t *rapid.T) scheduler.Snapshot {
	s := scheduler.Snapshot{Namespaces: []api.Namespace{{Name: "default", Labels: map[string]string{"team": "x"}}, {Name: "other"}}}
	for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
		n := aNode(fmt.Sprintf("n%d", i))
		n.Labels = drawLabels(t, "zone", "rack")
		s.Nodes = append(s.Nodes, n)
	}
	live := []api.PodStatus{api.PodRunning, api.PodRunning, api.PodRunning, api.PodStarting, api.PodStopping}
	for i := range rapid.IntRange(8, 16).Draw(t, "pods") {
		p := aPod(fmt.Sprintf("p%d", i))
		p.Labels, p.Namespace = drawLabels(t, "app"), rapid.SampledFrom([]string{"default", "other"}).Draw(t, "ns")
		p.Priority = int32(rapid.IntRange(0, 3).Draw(t, "priority"))
		p.ResourceRequests.CPU = api.Millicores(rapid.IntRange(2, 5).Draw(t, "cpu") * 100)
		if i%4 == 0 {
			p.Scheduling = drawScheduling(t)
		}
		if i > 0 {
			p.Status, p.NodeID = rapid.SampledFrom(live).Draw(t, "status"), new(rapid.SampledFrom(s.Nodes).Draw(t, "on").ID)
		}
		s.Pods = append(s.Pods, p)
	}
	return s
}
