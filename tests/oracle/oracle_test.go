// Package oracle_test holds the matching of the scheduler to Kubernetes' own code, on
// random input. Stark parses and matches by itself, since its parsers are part of what
// runs in a browser tab, where Kubernetes' libraries would cost megabytes.
package oracle_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corehelpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"pgregory.net/rapid"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

var (
	keys   = []string{"a", "b", "example.com/c"}
	values = []string{"", "x", "y", "1", "7", "10", "9223372036854775808", "1.5", "007"}
)

func drawLabels(t *rapid.T) map[string]string {
	out := map[string]string{}
	for _, k := range keys {
		if rapid.Bool().Draw(t, "has "+k) {
			out[k] = rapid.SampledFrom(values).Draw(t, k)
		}
	}
	return out
}

// drawRequirement draws what Validate lets through.
func drawRequirement(t *rapid.T, key string, ops ...api.SelectorOperator) api.Requirement {
	r := api.Requirement{Key: key, Operator: rapid.SampledFrom(ops).Draw(t, "operator")}
	switch r.Operator {
	case api.OpIn, api.OpNotIn:
		r.Values = rapid.SliceOfN(rapid.SampledFrom(values), 1, 3).Draw(t, "values")
	case api.OpGt, api.OpLt:
		r.Values = []string{rapid.SampledFrom([]string{"0", "1", "7", "9"}).Draw(t, "bound")}
	default:
	}
	return r
}

var (
	ofPods  = []api.SelectorOperator{api.OpIn, api.OpNotIn, api.OpExists, api.OpDoesNotExist}
	ofNodes = append([]api.SelectorOperator{api.OpGt, api.OpLt}, ofPods...)
)

func drawTerm(t *rapid.T) api.NodeSelectorTerm {
	var term api.NodeSelectorTerm
	for range rapid.IntRange(0, 2).Draw(t, "expressions") {
		term.MatchExpressions = append(term.MatchExpressions, drawRequirement(t, rapid.SampledFrom(keys).Draw(t, "key"), ofNodes...))
	}
	if rapid.IntRange(0, 3).Draw(t, "field") == 0 {
		term.MatchFields = []api.Requirement{{
			Key: api.FieldMetadataName, Operator: rapid.SampledFrom([]api.SelectorOperator{api.OpIn, api.OpNotIn}).Draw(t, "in"),
			Values: []string{rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "name")},
		}}
	}
	return term
}

func theirs(rs []api.Requirement) []corev1.NodeSelectorRequirement {
	var out []corev1.NodeSelectorRequirement
	for _, r := range rs {
		out = append(out, corev1.NodeSelectorRequirement{Key: r.Key, Operator: corev1.NodeSelectorOperator(r.Operator), Values: r.Values})
	}
	return out
}

// TestNodeAffinityAndSelector asks Plan whether a pod fits one node.
func TestNodeAffinityAndSelector(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		node := api.Node{
			ID: "n1", Name: "n1", RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Shared: true,
			Labels: drawLabels(t), Allocatable: api.Capacity{CPU: 1, Memory: 1, Pods: 1},
		}
		pod := api.Pod{ID: "p", RuntimeTag: api.TagNode, Status: api.PodPending}
		var k8s corev1.Pod
		if rapid.Bool().Draw(t, "selector") {
			pod.Scheduling.NodeSelector = drawLabels(t)
			k8s.Spec.NodeSelector = pod.Scheduling.NodeSelector
		}
		if rapid.Bool().Draw(t, "affinity") {
			ours, other := &api.NodeSelector{}, &corev1.NodeSelector{}
			for range rapid.IntRange(0, 3).Draw(t, "terms") {
				term := drawTerm(t)
				ours.NodeSelectorTerms = append(ours.NodeSelectorTerms, term)
				other.NodeSelectorTerms = append(other.NodeSelectorTerms, corev1.NodeSelectorTerm{
					MatchExpressions: theirs(term.MatchExpressions), MatchFields: theirs(term.MatchFields),
				})
			}
			pod.Scheduling.NodeAffinity = &api.NodeAffinity{Required: ours}
			k8s.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: other}}
		}
		want, err := nodeaffinity.GetRequiredNodeAffinity(&k8s).Match(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels}})
		if err != nil {
			t.Fatalf("Kubernetes refuses %+v: %v", pod.Scheduling, err)
		}
		d := scheduler.Plan(scheduler.Snapshot{Nodes: []api.Node{node}, Pods: []api.Pod{pod}}, time.Unix(0, 0))[0]
		if (d.NodeID != "") != want {
			t.Fatalf("node %v, pod %+v: placed %v, want %v", node.Labels, pod.Scheduling, d.NodeID != "", want)
		}
	})
}

func TestTaintsAndTolerations(t *testing.T) {
	t.Parallel()
	effects := []api.TaintEffect{api.NoSchedule, api.PreferNoSchedule, api.NoExecute}
	rapid.Check(t, func(t *rapid.T) {
		node := api.Node{
			ID: "n1", Name: "n1", RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Shared: true,
			Allocatable: api.Capacity{CPU: 1, Memory: 1, Pods: 1},
		}
		pod := api.Pod{ID: "p", RuntimeTag: api.TagNode, Status: api.PodPending}
		var taints []corev1.Taint
		for range rapid.IntRange(0, 3).Draw(t, "taints") {
			taint := api.Taint{
				Key: rapid.SampledFrom(keys).Draw(t, "key"), Value: rapid.SampledFrom(values[:3]).Draw(t, "value"),
				Effect: rapid.SampledFrom(effects).Draw(t, "effect"),
			}
			node.Taints = append(node.Taints, taint)
			taints = append(taints, corev1.Taint{Key: taint.Key, Value: taint.Value, Effect: corev1.TaintEffect(taint.Effect)})
		}
		var tolerations []corev1.Toleration
		for range rapid.IntRange(0, 3).Draw(t, "tolerations") {
			to := api.Toleration{
				Key: rapid.SampledFrom(append([]string{""}, keys...)).Draw(t, "of"), Value: rapid.SampledFrom(values[:3]).Draw(t, "is"),
				Operator: rapid.SampledFrom([]api.TolerationOperator{"", api.TolerationEqual, api.TolerationExists}).Draw(t, "operator"),
				Effect:   rapid.SampledFrom(append([]api.TaintEffect{""}, effects...)).Draw(t, "only"),
			}
			if to.Key == "" || to.Operator == api.TolerationExists { // what Validate lets through
				to.Operator, to.Value = api.TolerationExists, ""
			}
			pod.Tolerations = append(pod.Tolerations, to)
			tolerations = append(tolerations, corev1.Toleration{
				Key: to.Key, Operator: corev1.TolerationOperator(to.Operator), Value: to.Value, Effect: corev1.TaintEffect(to.Effect),
			})
		}
		_, bad := corehelpers.FindMatchingUntoleratedTaint(taints, tolerations, func(t *corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule })
		d := scheduler.Plan(scheduler.Snapshot{Nodes: []api.Node{node}, Pods: []api.Pod{pod}}, time.Unix(0, 0))[0]
		if (d.NodeID == "") != bad {
			t.Fatalf("taints %+v, tolerations %+v: refused %v, want %v", node.Taints, pod.Tolerations, d.NodeID == "", bad)
		}
	})
}

func TestLabelSelectors(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ours := api.LabelSelector{MatchLabels: drawLabels(t)}
		other := &metav1.LabelSelector{MatchLabels: ours.MatchLabels}
		for range rapid.IntRange(0, 3).Draw(t, "expressions") {
			r := drawRequirement(t, rapid.SampledFrom(keys).Draw(t, "key"), ofPods...)
			ours.MatchExpressions = append(ours.MatchExpressions, r)
			other.MatchExpressions = append(other.MatchExpressions, metav1.LabelSelectorRequirement{Key: r.Key, Operator: metav1.LabelSelectorOperator(r.Operator), Values: r.Values})
		}
		selector, err := metav1.LabelSelectorAsSelector(other)
		if err != nil {
			t.Fatalf("Kubernetes refuses %+v: %v", ours, err)
		}
		of := drawLabels(t)
		if got, want := ours.Matches(of), selector.Matches(labels.Set(of)); got != want {
			t.Fatalf("%+v on %v: got %v, want %v", ours, of, got, want)
		}
	})
}

// FuzzParseSelector: what both parse selects the same, and whatever we take they take.
func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{"", "a=b", "a==b,c!=d", "e in (x,y)", "f notin (z)", "g,!h", "i>1,j<-2", "a in (", "a=b c", "x/y/z", "a in ()", "a=,b"} {
		f.Add(s, "a", "b")
	}
	f.Fuzz(func(t *testing.T, s, key, value string) {
		ours, err := api.ParseSelector(s)
		if err != nil {
			return
		}
		other, err := labels.Parse(s)
		if err != nil {
			t.Fatalf("%q is a selector here, but not in Kubernetes: %v", s, err)
		}
		of := map[string]string{key: value}
		if got, want := ours.Matches(of), other.Matches(labels.Set(of)); got != want {
			t.Fatalf("%q on %v: got %v, want %v", s, of, got, want)
		}
	})
}
