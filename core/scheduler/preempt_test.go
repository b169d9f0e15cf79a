package scheduler_test

import (
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

// preempting is a cluster of two full nodes, and a pod that matters more.
func preempting() scheduler.Snapshot {
	low := func(id, node string, priority int32) api.Pod {
		p := onNode(aPod(id), node)
		p.Priority, p.ResourceRequests.CPU = priority, 500
		return p
	}
	high := aPod("high")
	high.Priority, high.PriorityClassName, high.ResourceRequests.CPU = 1000, "vip", 500
	return scheduler.Snapshot{
		Nodes:      []api.Node{aNode("n1"), aNode("n2")},
		Pods:       []api.Pod{high, low("a", "n1", 5), low("b", "n1", 2), low("c", "n2", 1), low("d", "n2", 3)},
		Config:     api.ClusterConfig{EnablePreemption: true},
		Namespaces: []api.Namespace{{Name: "default"}},
	}
}

func TestPreemption(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*scheduler.Snapshot)
		victim string // "" when nobody leaves
		node   string
	}{
		{"the least important leaves", func(*scheduler.Snapshot) {}, "c", "n2"},
		{"switched off", func(s *scheduler.Snapshot) { s.Config.EnablePreemption = false }, "", ""},
		{"a class that never preempts", func(s *scheduler.Snapshot) {
			s.PriorityClasses = []api.PriorityClass{{Name: "vip", PreemptionPolicy: api.PreemptNever}}
		}, "", ""},
		{"equal priority", func(s *scheduler.Snapshot) {
			for i := range s.Pods {
				s.Pods[i].Priority = 1000
			}
		}, "", ""},
		{"it would not help", func(s *scheduler.Snapshot) { s.Pods[0].ResourceRequests.CPU = 1001 }, "", ""},
		{"no budget", func(s *scheduler.Snapshot) { s.Namespaces[0].DisruptionBudget = &api.DisruptionBudget{} }, "", ""},
		{"the budget is used up", func(s *scheduler.Snapshot) {
			s.Namespaces[0].DisruptionBudget = &api.DisruptionBudget{MaxUnavailable: 1}
			s.Pods[1].Status = api.PodStarting
		}, "a", "n1"}, // who does not run may leave
		{"anti-affinity of one that is there", func(s *scheduler.Snapshot) {
			s.Pods[0].ResourceRequests.CPU = 0
			s.Pods[0].Labels = map[string]string{"app": "x"}
			for _, i := range []int{2, 4} {
				s.Pods[i].Scheduling.PodAntiAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{
					{TopologyKey: "host", LabelSelector: &api.LabelSelector{MatchLabels: map[string]string{"app": "x"}}},
				}}
			}
			s.Nodes[0].Labels, s.Nodes[1].Labels = map[string]string{"host": "1"}, map[string]string{"host": "2"}
		}, "b", "n1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := preempting()
			tt.change(&s)
			d := scheduler.Plan(s, now)[0]
			got := ""
			for _, v := range d.Victims {
				got += v.PodID
			}
			if got != tt.victim || d.NominatedNodeID != tt.node {
				t.Errorf("got victims %q on %q, want %q on %q (%s)", got, d.NominatedNodeID, tt.victim, tt.node, d.Verdict.Message)
			}
			if tt.victim != "" && d.Verdict.Reason != api.ReasonWaitingForRoom {
				t.Errorf("got reason %s, want WaitingForRoom", d.Verdict.Reason)
			}
		})
	}
}

func TestNominatedNodeHoldsTheRoom(t *testing.T) {
	t.Parallel()
	s := preempting()
	s.Pods[0].NominatedNodeID = "n2"
	s.Pods[3].Status = api.PodStopping
	late := aPod("late")
	late.ResourceRequests.CPU, late.CreatedAt = 500, now.Add(time.Second)
	s.Pods = append(s.Pods, late)
	ds := scheduler.Plan(s, now)
	if d := ds[0]; d.NodeID != "" || len(d.Victims) > 0 || d.NominatedNodeID != "n2" {
		t.Errorf("got %+v, want the pod to wait for n2 and to drive nobody else out", d)
	}
	s.Pods[3].Status = api.PodStopped
	ds = scheduler.Plan(s, now)
	if ds[0].NodeID != "n2" || ds[1].NodeID != "" {
		t.Errorf("got %+v, want the room for the pod that it was made for", ds)
	}
	s.Pods[0].StopRequestedAt = &now
	if ds = scheduler.Plan(s, now); ds[0].NodeID != "n2" {
		t.Errorf("got %+v, want the room free when nobody waits for it", ds)
	}
}

func TestAPodThatWaitsForLongGetsItsTurn(t *testing.T) {
	t.Parallel()
	big, small := aPod("big"), aPod("small")
	big.ResourceRequests.CPU, small.CreatedAt = 900, now.Add(time.Second)
	s := scheduler.Snapshot{Nodes: []api.Node{aNode("n1")}, Pods: []api.Pod{big, small, onNode(aPod("a"), "n1"), onNode(aPod("b"), "n1")}}
	if ds := scheduler.Plan(s, now); ds[1].NodeID != "n1" {
		t.Fatalf("got %+v, want the small pod placed while the big one is young", ds)
	}
	ds := scheduler.Plan(s, now.Add(time.Hour))
	if ds[0].NominatedNodeID != "n1" || ds[1].NodeID != "" {
		t.Errorf("got %+v, want n1 to hold what gets free for the big pod", ds)
	}
}
