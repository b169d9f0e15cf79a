package scheduler_test

import (
	"fmt"
	"testing"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Three nodes differ in how many pods they have and in how full they are, so that every
// policy chooses another one of them.
func TestEveryPolicyOnThreeNodes(t *testing.T) {
	t.Parallel()
	full, few, light := aNode("full"), aNode("few"), aNode("light")
	full.Labels = map[string]string{"zone": "wanted"}
	taint(api.PreferNoSchedule)(&full)
	var pods []api.Pod
	put := func(node string, n int, cpu api.Millicores, memory api.Mebibytes) {
		for i := range n {
			p := onNode(aPod(fmt.Sprintf("%s-%d", node, i)), node)
			p.ResourceRequests = api.Resources{CPU: cpu, Memory: memory}
			pods = append(pods, p)
		}
	}
	put("full", 3, 250, 256)
	put("few", 1, 500, 512)
	put("light", 2, 100, 128)
	wish := func(p *api.Pod) {
		p.Scheduling.NodeAffinity = &api.NodeAffinity{Preferred: []api.PreferredNode{{Weight: 1, Preference: api.NodeSelectorTerm{
			MatchExpressions: []api.Requirement{{Key: "zone", Operator: api.OpIn, Values: []string{"wanted"}}},
		}}}}
	}
	untainted := full
	untainted.Taints = nil
	for _, tt := range []struct {
		name   string
		policy api.SchedulingPolicy
		full   api.Node
		change func(*api.Pod)
		want   string
	}{
		{"the fewest pods", api.PolicySpread, untainted, nil, "few"},
		{"the fullest that still has room", api.PolicyBinpack, untainted, nil, "full"},
		{"the most room", api.PolicyLeastLoaded, untainted, nil, "light"},
		{"no wish: as spread", api.PolicyAffinity, untainted, nil, "few"},
		{"a wish does not outweigh a taint", api.PolicySpread, full, wish, "few"},
		{"a wish decides", api.PolicyAffinity, full, wish, "full"},
	} {
		t.Run(string(tt.policy)+": "+tt.name, func(t *testing.T) {
			t.Parallel()
			p := aPod("new")
			if tt.change != nil {
				tt.change(&p)
			}
			for _, nodes := range [][]api.Node{{tt.full, few, light}, {light, few, tt.full}} { // whatever their order
				ds := scheduler.Plan(scheduler.Snapshot{
					Nodes: nodes, Pods: append([]api.Pod{p}, pods...), Config: api.ClusterConfig{SchedulingPolicy: tt.policy},
				}, now)
				if ds[0].NodeID != tt.want {
					t.Errorf("got %s (%+v), want %s", ds[0].NodeID, ds[0].Scores, tt.want)
				}
			}
		})
	}
}
