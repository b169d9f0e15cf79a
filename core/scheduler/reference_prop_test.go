package scheduler_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

var zones = []string{"a", "b", "c"}

func drawLabels(t *rapid.T, keys ...string) map[string]string {
	labels := map[string]string{}
	for _, k := range keys {
		if rapid.IntRange(0, 4).Draw(t, k) > 0 {
			labels[k] = rapid.SampledFrom(zones).Draw(t, k+"Value")
		}
	}
	return labels
}

func drawSelector(t *rapid.T) *api.LabelSelector {
	switch rapid.IntRange(0, 5).Draw(t, "selector") {
	case 0:
		return nil
	case 1:
		return &api.LabelSelector{}
	case 2:
		op := rapid.SampledFrom([]api.SelectorOperator{api.OpNotIn, api.OpIn}).Draw(t, "op")
		return &api.LabelSelector{MatchExpressions: []api.Requirement{{Key: "app", Operator: op, Values: []string{"a"}}}}
	default:
		return &api.LabelSelector{MatchLabels: map[string]string{"app": rapid.SampledFrom(zones).Draw(t, "app")}}
	}
}

func drawTerm(t *rapid.T) api.PodAffinityTerm {
	term := api.PodAffinityTerm{LabelSelector: drawSelector(t), TopologyKey: rapid.SampledFrom([]string{"zone", "rack"}).Draw(t, "topology")}
	switch rapid.IntRange(0, 3).Draw(t, "namespaces") {
	case 0:
		term.Namespaces = []string{"other"}
	case 1:
		term.NamespaceSelector = &api.LabelSelector{MatchLabels: map[string]string{"team": "x"}}
	}
	return term
}

func drawScheduling(t *rapid.T) api.Scheduling {
	var s api.Scheduling
	if rapid.IntRange(0, 4).Draw(t, "selects") == 0 {
		s.NodeSelector = map[string]string{"zone": rapid.SampledFrom(zones).Draw(t, "zone")}
	}
	if rapid.IntRange(0, 4).Draw(t, "affine") == 0 {
		s.NodeAffinity = &api.NodeAffinity{Required: drawNodeSelector(t)}
	}
	if rapid.IntRange(0, 3).Draw(t, "near") == 0 {
		s.PodAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{drawTerm(t)}}
		if rapid.Bool().Draw(t, "twice") {
			s.PodAffinity.Required = append(s.PodAffinity.Required, drawTerm(t))
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "apart") == 0 {
		s.PodAntiAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{drawTerm(t)}}
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "spreads") {
		c := api.TopologySpreadConstraint{
			MaxSkew: rapid.IntRange(1, 2).Draw(t, "skew"), TopologyKey: rapid.SampledFrom([]string{"zone", "rack"}).Draw(t, "over"),
			WhenUnsatisfiable: rapid.SampledFrom([]api.UnsatisfiableAction{"", api.DoNotSchedule, api.ScheduleAnyway}).Draw(t, "when"), LabelSelector: drawSelector(t),
		}
		if c.WhenUnsatisfiable != api.ScheduleAnyway && rapid.Bool().Draw(t, "min") {
			c.MinDomains = new(rapid.IntRange(1, 4).Draw(t, "domains"))
		}
		s.TopologySpreadConstraints = append(s.TopologySpreadConstraints, c)
	}
	return s
}

func drawNodeSelector(t *rapid.T) *api.NodeSelector {
	s := &api.NodeSelector{}
	for range rapid.IntRange(0, 2).Draw(t, "terms") {
		var term api.NodeSelectorTerm
		for range rapid.IntRange(0, 2).Draw(t, "requirements") {
			r := api.Requirement{Key: rapid.SampledFrom([]string{"zone", "rack", "size", "metadata.name"}).Draw(t, "key")}
			r.Operator = rapid.SampledFrom([]api.SelectorOperator{api.OpIn, api.OpNotIn, api.OpExists, api.OpDoesNotExist, api.OpGt, api.OpLt}).Draw(t, "operator")
			switch r.Operator {
			case api.OpIn, api.OpNotIn:
				r.Values = []string{rapid.SampledFrom(zones).Draw(t, "v"), rapid.SampledFrom([]string{"5", "n1"}).Draw(t, "w")}
			case api.OpGt, api.OpLt:
				r.Values = []string{rapid.SampledFrom([]string{"4", "5", "x"}).Draw(t, "bound")}
			default:
			}
			term.MatchExpressions = append(term.MatchExpressions, r)
		}
		if rapid.IntRange(0, 3).Draw(t, "field") == 0 {
			term.MatchFields = []api.Requirement{{Key: api.FieldMetadataName, Operator: api.OpIn, Values: []string{"n1", "n2"}}}
		}
		s.NodeSelectorTerms = append(s.NodeSelectorTerms, term)
	}
	return s
}

// drawCrowd makes a random cluster whose pods care about each other, half of them on
// nodes already.
func drawCrowd(t *rapid.T) scheduler.Snapshot {
	s := scheduler.Snapshot{
		Namespaces: []api.Namespace{{Name: "default", Labels: map[string]string{"team": "x"}}, {Name: "other"}},
		Config:     api.ClusterConfig{SchedulingPolicy: rapid.SampledFrom([]api.SchedulingPolicy{api.PolicySpread, api.PolicyAffinity, api.PolicyBinpack}).Draw(t, "policy")},
	}
	for i := range rapid.IntRange(2, 5).Draw(t, "nodes") {
		n := aNode(fmt.Sprintf("n%d", i))
		n.Labels = drawLabels(t, "zone", "rack")
		if rapid.Bool().Draw(t, "sized") {
			n.Labels["size"] = rapid.SampledFrom([]string{"4", "5", "6", "large"}).Draw(t, "size")
		}
		n.Unschedulable = rapid.IntRange(0, 7).Draw(t, "cordoned") == 7
		if rapid.IntRange(0, 5).Draw(t, "tainted") == 5 {
			n.Taints = []api.Taint{{Key: "k", Effect: rapid.SampledFrom([]api.TaintEffect{api.NoSchedule, api.PreferNoSchedule}).Draw(t, "effect")}}
		}
		s.Nodes = append(s.Nodes, n)
	}
	for i := range rapid.IntRange(6, 14).Draw(t, "pods") {
		p := aPod(fmt.Sprintf("p%d", i))
		p.Labels, p.Namespace = drawLabels(t, "app"), rapid.SampledFrom([]string{"default", "other"}).Draw(t, "ns")
		p.Priority = int32(rapid.IntRange(0, 1).Draw(t, "priority"))
		p.Scheduling = drawScheduling(t)
		if rapid.Bool().Draw(t, "live") {
			p.NodeID = new(rapid.SampledFrom(s.Nodes).Draw(t, "on").ID)
			p.Status = rapid.SampledFrom([]api.PodStatus{api.PodRunning, api.PodRunning, api.PodScheduled, api.PodStopping, api.PodFailed}).Draw(t, "status")
		}
		s.Pods = append(s.Pods, p)
	}
	return s
}

func TestPlanAgreesWithTheReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawCrowd(t)
		ds := scheduler.Plan(shuffled(t, s), now)
		r := &reference{s: s, pods: slices.Clone(s.Pods)}
		for i, p := range order(s.Pods) {
			d, fits := ds[i], r.fits(p)
			if d.PodID != p.ID {
				t.Fatalf("decision %d is about %s, want %s", i, d.PodID, p.ID)
			}
			if d.NodeID == "" {
				if len(fits) > 0 {
					t.Fatalf("pod %s was refused (%s), but fits on %v", p.ID, d.Verdict.Message, fits)
				}
				continue
			}
			if !slices.Contains(fits, d.NodeID) {
				t.Fatalf("pod %s was bound to %s, but fits on %v only", p.ID, d.NodeID, fits)
			}
			at := slices.IndexFunc(r.pods, func(o api.Pod) bool { return o.ID == p.ID })
			r.pods[at].Status, r.pods[at].NodeID = api.PodScheduled, &d.NodeID
		}
	})
}

func TestExplainAgreesWithThePlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawCrowd(t)
		r := &reference{s: s, pods: s.Pods}
		for _, p := range order(s.Pods) {
			e, fits := scheduler.Explain(s, p, now), r.fits(p)
			if (e.Verdict == nil) != (len(fits) > 0) || len(e.Candidates) != len(fits) {
				t.Fatalf("pod %s is explained by %+v, but fits on %v", p.ID, e, fits)
			}
			alone := s
			alone.Pods = slices.DeleteFunc(slices.Clone(s.Pods), func(o api.Pod) bool { return o.Status == api.PodPending && o.ID != p.ID })
			if d := scheduler.Plan(alone, now)[0]; d.NodeID != e.NodeID {
				t.Fatalf("pod %s: explained as %q, planned as %q", p.ID, e.NodeID, d.NodeID)
			}
		}
	})
}
