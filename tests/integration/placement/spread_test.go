package placement

import "testing"

// https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
func TestTopologySpreadConstraints(t *testing.T) {
	t.Parallel()
	node := func(name, zone string) string {
		return `{kind: Node, metadata: {name: ` + name + `, labels: {zone: ` + zone + `, node: ` + name + `}}}
---
`
	}
	foo := func(node string) string {
		return `{kind: Pod, metadata: {labels: {foo: bar}}, spec: {pack: web, nodeName: ` + node + `}}
---
`
	}
	four := node("node1", "zone-a") + node("node2", "zone-a") + node("node3", "zone-b") + node("node4", "zone-b")
	given := four + foo("node1") + foo("node2") + foo("node3")
	const selector = `labelSelector: {matchLabels: {foo: bar}}`
	pod := func(constraints string) string {
		return `{kind: Pod, metadata: {labels: {foo: bar}}, spec: {pack: web, topologySpreadConstraints: [` + constraints + `]}}`
	}
	const byZone = `{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, ` + selector + `}`
	const byNode = `{maxSkew: 1, topologyKey: node, whenUnsatisfiable: DoNotSchedule, ` + selector + `}`
	spread := func(message, change string) refusal { return refusal{"TopologySpread", message, change} }
	examples(t, []example{
		{"one constraint", given, pod(byZone), []string{"node3", "node4"}, refusal{}},
		{"two constraints", given, pod(byZone + `, ` + byNode), []string{"node4"}, refusal{}},
		{"two constraints in conflict", node("node1", "zone-a") + node("node2", "zone-a") + node("node3", "zone-b") +
			foo("node1") + foo("node1") + foo("node2") + foo("node3") + foo("node3"), pod(byZone + `, ` + byNode), nil, spread(
			"0/3 nodes are available: 3 node(s) did not match pod topology spread constraints.", "allow a maxSkew of 2 by zone, or make room where it has fewer pods",
		)},
		{"a larger skew", given, pod(`{maxSkew: 2, topologyKey: zone, ` + selector + `}`), []string{"node1", "node2", "node3", "node4"}, refusal{}},
		{"ScheduleAnyway refuses nobody", given, pod(`{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, ` + selector + `}`), []string{"node1", "node2", "node3", "node4"}, refusal{}},
		{
			"with node affinity, other zones do not count", given + node("node5", "zone-c"),
			`{kind: Pod, metadata: {labels: {foo: bar}}, spec: {pack: web, topologySpreadConstraints: [` + byZone + `], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: NotIn, values: [zone-c]}]}]}}}}}`,
			[]string{"node3", "node4"},
			refusal{},
		},
		{"an empty zone counts", given + node("node5", "zone-c"), pod(byZone), []string{"node5"}, refusal{}},
		{"a node without the label takes none and counts for none", given + `{kind: Node, metadata: {name: node5}}`, pod(byZone), []string{"node3", "node4"}, refusal{}},
		{"no node has the label", `{kind: Node, metadata: {name: bare}}`, pod(byZone), nil, spread(
			"0/1 nodes are available: 1 node(s) did not match pod topology spread constraints (missing required label).",
			"label bare with zone, by which the pod is spread",
		)},
		{
			"a pod that its own selector does not mean", given,
			`{kind: Pod, spec: {pack: web, topologySpreadConstraints: [` + byZone + `]}}`,
			[]string{"node1", "node2", "node3", "node4"},
			refusal{},
		},
		{"no selector counts no pods", given, pod(`{maxSkew: 1, topologyKey: zone}`), []string{"node1", "node2", "node3", "node4"}, refusal{}},
		{"minDomains that are there", given, pod(`{maxSkew: 1, minDomains: 2, topologyKey: zone, ` + selector + `}`), []string{"node3", "node4"}, refusal{}},
		{"minDomains that are not", four + foo("node1") + foo("node3"), pod(`{maxSkew: 1, minDomains: 3, topologyKey: zone, ` + selector + `}`), nil, spread(
			"0/4 nodes are available: 4 node(s) did not match pod topology spread constraints.", "add a node with another zone: there are 2, and minDomains asks for 3",
		)},
		{"without minDomains the same fits", four + foo("node1") + foo("node3"), pod(byZone), []string{"node1", "node2", "node3", "node4"}, refusal{}},
		{"a cordoned node counts still", four + `{kind: Node, metadata: {name: node5, labels: {zone: zone-c}}, spec: {unschedulable: true}}
---
` + foo("node1") + foo("node3"), pod(byZone), nil, refusal{
			"TopologySpread", "0/5 nodes are available: 4 node(s) did not match pod topology spread constraints, 1 node(s) were unschedulable.", "allow a maxSkew of 2 by zone, or make room where it has fewer pods",
		}},
	})
}

// ScheduleAnyway is a wish for the zone that holds fewer.
func TestScheduleAnywayPrefersTheEmptierZone(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.given(t, `
{kind: Node, metadata: {name: a, labels: {zone: a}}}
---
{kind: Node, metadata: {name: b, labels: {zone: b}}}
---
{kind: Pod, metadata: {labels: {foo: bar}}, spec: {pack: web, nodeName: a}}
---
{kind: Pod, metadata: {labels: {other: x}}, spec: {pack: web, nodeName: b}}
---
{kind: Pod, metadata: {labels: {other: y}}, spec: {pack: web, nodeName: b}}
`)
	id := g.create(t, one(t, `{kind: Pod, metadata: {labels: {foo: bar}}, spec: {pack: web, topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {foo: bar}}}]}}`))
	if p := g.decided(t, id); p.NodeName != "b" {
		t.Errorf("got %s, want the zone without such a pod, although it holds more of others", p.NodeName)
	}
	g.takes(t, id, "a", "b")
}
