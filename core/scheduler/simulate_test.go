package scheduler_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

func simNode(name string, cpu api.Millicores) api.Node {
	return api.Node{
		ID: name, Name: name, RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Shared: true,
		Allocatable: api.Capacity{CPU: cpu, Memory: 1000, Storage: 1000, Pods: 10},
	}
}

func simPod(id, node string, priority int32, cpu api.Millicores) api.Pod {
	p := api.Pod{
		ID: id, RuntimeTag: api.TagUniversal, Status: api.PodPending, Incarnation: 1, Namespace: "default", Priority: priority,
		CreatedAt: time.Unix(0, 0), RestartPolicy: api.RestartAlways, ResourceRequests: api.Resources{CPU: cpu, Memory: 1},
	}
	if node != "" {
		p.Status, p.NodeID = api.PodRunning, &node
	}
	return p
}

func TestSimulate(t *testing.T) {
	t.Parallel()
	never := simPod("never", "a", 0, 100)
	never.RestartPolicy = api.RestartNever
	preempting := api.ClusterConfig{EnablePreemption: true}
	tests := []struct {
		name  string
		in    scheduler.Snapshot
		drain []string
		want  []string
	}{
		{
			name: "pods of a drained node go elsewhere, or end, or wait",
			in: scheduler.Snapshot{
				Nodes: []api.Node{simNode("a", 1000), simNode("b", 1000)},
				Pods:  []api.Pod{never, simPod("small", "a", 0, 400), simPod("tall", "a", 0, 500), simPod("there", "b", 0, 500)},
			},
			drain: []string{"a"},
			want: []string{
				"never ends", "small on b",
				"tall waits: 0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were draining.",
			},
		},
		{
			name: "a victim finds another place, and is named with who came",
			in: scheduler.Snapshot{
				Config: preempting,
				Nodes:  []api.Node{simNode("a", 1000), simNode("b", 300)},
				Pods:   []api.Pod{simPod("high", "", 10, 900), simPod("low", "a", 0, 200)},
			},
			want: []string{"high on a", "low on b"},
		},
		{
			name: "a victim may have victims of its own",
			in: scheduler.Snapshot{
				Config: preempting,
				Nodes:  []api.Node{simNode("a", 1000), simNode("b", 500)},
				Pods:   []api.Pod{simPod("high", "", 10, 1000), simPod("mid", "a", 5, 500), simPod("low", "b", 0, 500)},
			},
			want: []string{"high on a", "mid on b", "low waits: 0/2 nodes are available: 2 Insufficient cpu."},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := fmt.Sprintf("%+v", tt.in)
			var got []string
			for _, f := range scheduler.Simulate(tt.in, tt.drain, time.Unix(0, 0)) {
				got = append(got, strings.TrimSuffix(f.String(), " The pod would not fit even if they were empty."))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if fmt.Sprintf("%+v", tt.in) != before {
				t.Error("the snapshot was changed")
			}
		})
	}
}

// Whatever is played: nobody who waits is forgotten, nodes are not overcommitted, the
// same question has the same answer.
func TestSimulateHoldsForAnyCluster(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := scheduler.Snapshot{Config: api.ClusterConfig{EnablePreemption: rapid.Bool().Draw(t, "preemption")}}
		for i := range rapid.IntRange(0, 5).Draw(t, "nodes") {
			s.Nodes = append(s.Nodes, simNode(fmt.Sprintf("n%d", i), 1000))
		}
		free := map[string]api.Millicores{}
		for i := range rapid.IntRange(0, 15).Draw(t, "pods") {
			cpu := api.Millicores(rapid.IntRange(1, 9).Draw(t, "cpu") * 100)
			node := ""
			if len(s.Nodes) > 0 && rapid.Bool().Draw(t, "bound") {
				if node = rapid.SampledFrom(s.Nodes).Draw(t, "node").Name; free[node]+cpu > 1000 {
					node = ""
				} else {
					free[node] += cpu
				}
			}
			s.Pods = append(s.Pods, simPod(fmt.Sprintf("p%d", i), node, int32(rapid.IntRange(0, 3).Draw(t, "priority")), cpu))
		}
		var drain []string
		if len(s.Nodes) > 0 && rapid.Bool().Draw(t, "drain") {
			drain = []string{s.Nodes[0].ID}
		}
		fates := scheduler.Simulate(s, drain, time.Unix(0, 0))
		if again := scheduler.Simulate(s, drain, time.Unix(0, 0)); !reflect.DeepEqual(fates, again) {
			t.Fatal("another answer to the same question")
		}
		of, used := map[string]scheduler.Fate{}, map[string]api.Millicores{}
		for _, f := range fates {
			of[f.Pod.ID] = f
			if f.Placed() == (f.Verdict != nil) {
				t.Fatalf("%s: placed %t with verdict %v", f.Pod.ID, f.Placed(), f.Verdict)
			}
		}
		for _, p := range s.Pods {
			f, told := of[p.ID]
			switch {
			case told && f.Node != "":
				used[f.Node] += p.ResourceRequests.CPU
			case !told && p.NodeID == nil:
				t.Fatalf("%s waits and was forgotten", p.ID)
			case !told:
				used[*p.NodeID] += p.ResourceRequests.CPU
			}
		}
		for node, cpu := range used {
			if cpu > 1000 || slices.Contains(drain, node) {
				t.Fatalf("%s holds %d, drained are %v", node, cpu, drain)
			}
		}
	})
}
