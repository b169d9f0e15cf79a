package scheduler_test

import (
	"fmt"
	"slices"
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

// Whoever expected preemption is told why there is none.
func TestAPodThatPreemptsNobodySaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*scheduler.Snapshot)
		want   string
	}{
		"its class": {func(s *scheduler.Snapshot) {
			s.PriorityClasses = []api.PriorityClass{{Name: "vip", PreemptionPolicy: api.PreemptNever}}
		}, " No preemption: its priority class vip has preemptionPolicy Never."},
		"budgets": {
			func(s *scheduler.Snapshot) { s.Namespaces[0].DisruptionBudget = &api.DisruptionBudget{} },
			" No preemption: the disruption budgets of their namespaces keep the pods that could make room for it.",
		},
		"budgets that keep nobody who matters": {func(s *scheduler.Snapshot) {
			s.Namespaces[0].DisruptionBudget = &api.DisruptionBudget{}
			s.Pods[0].Priority = 0
		}, ""},
		"switched off":            {func(s *scheduler.Snapshot) { s.Config.EnablePreemption = false }, ""},
		"others are as important": {func(s *scheduler.Snapshot) { s.Pods[0].Priority = 0 }, ""},
	} {
		s := preempting()
		c.change(&s)
		d := scheduler.Plan(s, now)[0]
		if want := "0/2 nodes are available: 2 Insufficient cpu." + c.want; d.Verdict.Message != want {
			t.Errorf("%s: got %q, want %q", name, d.Verdict.Message, want)
		}
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

// Room that is being made already is waited for: for five small pods one large one
// leaves, whether they come together or one after the other.
func TestNobodyLeavesForRoomThatIsBeingMade(t *testing.T) {
	t.Parallel()
	crowd := func(small int) scheduler.Snapshot {
		s := scheduler.Snapshot{
			Nodes: []api.Node{aNode("n1"), aNode("n2")}, Config: api.ClusterConfig{EnablePreemption: true}, Namespaces: []api.Namespace{{Name: "default"}},
		}
		for i := range s.Nodes {
			s.Nodes[i].Allocatable.Pods = 100
		}
		for i := range 8 {
			p := onNode(aPod(fmt.Sprint("low", i)), s.Nodes[i%2].ID)
			p.ResourceRequests = api.Resources{CPU: 250}
			s.Pods = append(s.Pods, p)
		}
		for i := range small {
			p := aPod(fmt.Sprint("high", i))
			p.Priority, p.ResourceRequests = 1000, api.Resources{CPU: 50}
			s.Pods = append(s.Pods, p)
		}
		return s
	}
	for small, want := range map[int]int{1: 1, 5: 1, 6: 2, 20: 4, 21: 5} {
		together := 0
		for _, d := range scheduler.Plan(crowd(small), now) {
			if together += len(d.Victims); d.NominatedNodeID == "" {
				t.Errorf("of %d, pod %s is nominated to no node: %s", small, d.PodID, d.Verdict.Message)
			}
		}
		if together != want {
			t.Errorf("%d pods drive out %d, want %d", small, together, want)
		}
		s, apart := crowd(small), 0
		for range small { // each is planned on what the last has made of the cluster
			for _, d := range scheduler.Plan(s, now) {
				at := slices.IndexFunc(s.Pods, func(p api.Pod) bool { return p.ID == d.PodID })
				if s.Pods[at].NominatedNodeID != "" {
					continue
				}
				s.Pods[at].NominatedNodeID = d.NominatedNodeID
				apart += len(d.Victims)
				for _, v := range d.Victims {
					i := slices.IndexFunc(s.Pods, func(p api.Pod) bool { return p.ID == v.PodID })
					s.Pods[i].Status, s.Pods[i].Eviction = api.PodStopping, &api.Eviction{Reason: api.ReasonPreempted}
				}
				break
			}
		}
		if apart != want {
			t.Errorf("%d pods drive out %d one after the other, want %d", small, apart, want)
		}
	}
}

// A pod that somebody has stopped makes room as well as a victim does.
func TestNobodyLeavesWhereAPodStopsAnyway(t *testing.T) {
	t.Parallel()
	s := preempting()
	s.Pods[1].Status = api.PodStopping // of a higher priority than others
	d := scheduler.Plan(s, now)[0]
	if len(d.Victims) > 0 || d.NominatedNodeID != "n1" || d.Verdict.Reason != api.ReasonWaitingForRoom {
		t.Errorf("got victims %+v on %q (%s), want the pod to wait for what stops on n1", d.Victims, d.NominatedNodeID, d.Verdict.Message)
	}
	contains(t, d.Verdict.Message, "Pods that stop on n1 make room for it.")
}
