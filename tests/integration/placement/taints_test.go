package placement

import (
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
func TestTaintsAndTolerations(t *testing.T) {
	t.Parallel()
	const one = `{kind: Node, metadata: {name: node1}, spec: {taints: [{key: key1, value: value1, effect: NoSchedule}]}}`
	const three = `
kind: Node
metadata: {name: node1}
spec:
  taints:
  - {key: key1, value: value1, effect: NoSchedule}
  - {key: key1, value: value1, effect: NoExecute}
  - {key: key2, value: value2, effect: NoSchedule}
`
	tolerating := func(tolerations string) string {
		return `{kind: Pod, spec: {pack: web, tolerations: [` + tolerations + `]}}`
	}
	untolerated := func(taint, change string) refusal {
		return refusal{"Taints", "0/1 nodes are available: 1 node(s) had untolerated taint {" + taint + "}.", change}
	}
	first := untolerated("key1: value1", "tolerate {key1: value1} of node1, or take that taint away")
	examples(t, []example{
		{"no toleration", one, tolerating(``), nil, first},
		{"Equal", one, tolerating(`{key: key1, operator: Equal, value: value1, effect: NoSchedule}`), []string{"node1"}, refusal{}},
		{"Equal is the default", one, tolerating(`{key: key1, value: value1, effect: NoSchedule}`), []string{"node1"}, refusal{}},
		{"Equal of another value", one, tolerating(`{key: key1, operator: Equal, value: value2, effect: NoSchedule}`), nil, first},
		{"Exists", one, tolerating(`{key: key1, operator: Exists, effect: NoSchedule}`), []string{"node1"}, refusal{}},
		{"Exists without a key tolerates everything", three, tolerating(`{operator: Exists}`), []string{"node1"}, refusal{}},
		{"Exists without a key, of one effect", three, tolerating(`{operator: Exists, effect: NoSchedule}`), nil, untolerated(
			"key1: value1", "tolerate {key1: value1} of node1, or take that taint away",
		)},
		{"no effect matches all effects of the key", three, tolerating(`{key: key1, operator: Exists}`), nil, untolerated(
			"key2: value2", "tolerate {key2: value2} of node1, or take that taint away",
		)},
		{"two of three taints tolerated", three, tolerating(`{key: key1, value: value1, effect: NoSchedule}, {key: key1, value: value1, effect: NoExecute}`), nil, untolerated(
			"key2: value2", "tolerate {key2: value2} of node1, or take that taint away",
		)},
		{"another effect", one, tolerating(`{key: key1, operator: Exists, effect: NoExecute}`), nil, first},
		{"a cordon", `{kind: Node, metadata: {name: node1}, spec: {unschedulable: true}}`, tolerating(``), nil, refusal{
			"Unschedulable", "0/1 nodes are available: 1 node(s) were unschedulable.", "uncordon node1",
		}},
		{
			"a cordon that is tolerated", `{kind: Node, metadata: {name: node1}, spec: {unschedulable: true}}`,
			tolerating(`{key: node.stark.io/unschedulable, operator: Exists, effect: NoSchedule}`),
			[]string{"node1"},
			refusal{},
		},
	})
}

// PreferNoSchedule is a wish: the node comes last, and takes the pod where no other does.
func TestPreferNoSchedule(t *testing.T) {
	t.Parallel()
	const soft = `{kind: Node, metadata: {name: a-soft}, spec: {taints: [{key: key1, value: value1, effect: PreferNoSchedule}]}}`
	const other = `
---
{kind: Node, metadata: {name: b-plain}}
---
{kind: Pod, metadata: {name: there}, spec: {pack: web, nodeName: b-plain}}
`
	g := newGround(t)
	g.given(t, soft+other)
	id := g.create(t, one(t, `{kind: Pod, spec: {pack: web}}`))
	g.takes(t, id, "a-soft", "b-plain")
	if best := g.explain(t, id).Candidates[0]; best.NodeName != "b-plain" {
		t.Errorf("got %+v first, want the node without the taint", best)
	}
	if p := g.decided(t, id); p.NodeName != "b-plain" {
		t.Errorf("got %s, want the node without the taint", p.NodeName)
	}
	id = g.create(t, one(t, `{kind: Pod, spec: {pack: web, tolerations: [{key: key1, operator: Exists, effect: PreferNoSchedule}]}}`))
	if p := g.decided(t, id); p.NodeName != "a-soft" {
		t.Errorf("got %s, want the emptier node of two that the pod likes as well", p.NodeName)
	}
	g.clear(t)
	g.given(t, soft)
	g.takes(t, g.create(t, one(t, `{kind: Pod, spec: {pack: web}}`)), "a-soft")
}

// A NoExecute taint ends the pods that do not tolerate it, those that tolerate it for a
// time after that time, and no other.
func TestNoExecute(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.given(t, `{kind: Node, metadata: {name: node1}}`)
	pods := map[string]string{}
	for name, tolerations := range map[string]string{
		"none":       ``,
		"for ever":   `{key: key1, operator: Equal, value: value1, effect: NoExecute}`,
		"an hour":    `{key: key1, operator: Equal, value: value1, effect: NoExecute, tolerationSeconds: 3600}`,
		"one second": `{key: key1, operator: Equal, value: value1, effect: NoExecute, tolerationSeconds: 1}`,
		"not at all": `{key: key1, operator: Exists, effect: NoExecute, tolerationSeconds: 0}`,
		"the least":  `{key: key1, operator: Exists, effect: NoExecute, tolerationSeconds: 1}, {key: key1, operator: Exists}`,
		"another":    `{key: key2, operator: Exists}`,
	} {
		pods[name] = g.create(t, one(t, `{kind: Pod, spec: {pack: web, tolerations: [`+tolerations+`]}}`))
		g.takes(t, pods[name], "node1")
	}
	node, err := g.admin.GetNodeByName(t.Context(), "node1")
	if err != nil {
		t.Fatal(err)
	}
	node, err = g.admin.UpdateNode(t.Context(), node.ID, api.UpdateNodeRequest{Taints: &[]api.Taint{{Key: "key1", Value: "value1", Effect: api.NoExecute}}})
	if err != nil || len(node.Taints) != 1 || node.Taints[0].TimeAdded == nil {
		t.Fatalf("got taints %+v, %v; want one with its time", node.Taints, err)
	}
	for _, name := range []string{"none", "not at all", "another", "one second", "the least"} {
		p := g.wait(t, pods[name], "to be told to leave", func(p api.Pod) bool { return p.Eviction != nil })
		if p.Status != api.PodStopping || p.Reason != api.ReasonEvicted {
			t.Errorf("%s: the pod is %s (%s), want it stopping as Evicted", name, p.Status, p.Reason)
		}
		want := map[string]time.Duration{"one second": time.Second, "the least": time.Second}[name]
		if after := p.Eviction.Since.Sub(*node.Taints[0].TimeAdded); after < want {
			t.Errorf("%s: evicted %s after the taint, want %s", name, after, want)
		}
	}
	for _, name := range []string{"for ever", "an hour"} {
		if p, err := g.admin.GetPod(t.Context(), pods[name]); err != nil || p.Eviction != nil {
			t.Errorf("%s: got %+v, %v; want the pod to stay", name, p.Eviction, err)
		}
	}
}
