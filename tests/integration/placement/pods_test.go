package placement

import "testing"

// https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
func TestInterPodAffinity(t *testing.T) {
	t.Parallel()
	const nodes = `
{kind: Node, metadata: {name: a1, labels: {zone: a}}}
---
{kind: Node, metadata: {name: a2, labels: {zone: a}}}
---
{kind: Node, metadata: {name: b1, labels: {zone: b}}}
---
{kind: Node, metadata: {name: nowhere}}
---
`
	const s1 = `{kind: Pod, metadata: {name: s1, labels: {security: S1}}, spec: {pack: web, nodeName: a1}}`
	const lost = `{kind: Pod, metadata: {name: s1, labels: {security: S1}}, spec: {pack: web, nodeName: nowhere}}`
	pod := func(meta, kind, terms string) string {
		return `{kind: Pod, metadata: {` + meta + `}, spec: {pack: web, affinity: {` + kind + `: {requiredDuringSchedulingIgnoredDuringExecution: [` + terms + `]}}}}`
	}
	const toS1 = `{labelSelector: {matchExpressions: [{key: security, operator: In, values: [S1]}]}, topologyKey: zone}`
	affinity := func(change string) refusal {
		return refusal{"PodAffinity", "0/4 nodes are available: 4 node(s) did not match pod affinity rules.", change}
	}
	examples(t, []example{
		{"with-pod-affinity", nodes + s1, `
kind: Pod
metadata: {name: with-pod-affinity}
spec:
  pack: web
  affinity:
    podAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - labelSelector:
          matchExpressions:
          - {key: security, operator: In, values: [S1]}
        topologyKey: zone
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          labelSelector:
            matchExpressions:
            - {key: security, operator: In, values: [S2]}
          topologyKey: zone
`, []string{"a1", "a2"}, refusal{}},
		{"affinity to pods that are not there", nodes, pod(``, "podAffinity", toS1), nil, affinity("run a pod with security=S1 where zone is a")},
		{"affinity to a pod on a node without the label", nodes + lost, pod(``, "podAffinity", toS1), nil, affinity("run a pod with security=S1 where zone is a")},
		{"the first pod of a group that is drawn to itself", nodes, pod(`labels: {security: S1}`, "podAffinity", toS1), []string{"a1", "a2", "b1"}, refusal{}},
		{"the second goes to the first", nodes + s1, pod(`labels: {security: S1}`, "podAffinity", toS1), []string{"a1", "a2"}, refusal{}},
		{"the first of a group, where a member stands on a node without the label", nodes + lost, pod(`labels: {security: S1}`, "podAffinity", toS1), []string{"a1", "a2", "b1"}, refusal{}},
		{"an empty selector means all pods", nodes + s1, pod(``, "podAffinity", `{labelSelector: {}, topologyKey: zone}`), []string{"a1", "a2"}, refusal{}},
		{"no selector means no pods", nodes + s1, pod(``, "podAffinity", `{topologyKey: zone}`), nil, affinity("give the pod's affinity a label selector: without one it means no pods")},
		{"anti-affinity", nodes + s1, pod(``, "podAntiAffinity", toS1), []string{"b1", "nowhere"}, refusal{}},
		{"anti-affinity counts no pod on a node without the label", nodes + lost, pod(``, "podAntiAffinity", toS1), []string{"a1", "a2", "b1", "nowhere"}, refusal{}},
		{
			"anti-affinity works both ways", nodes + `{kind: Pod, metadata: {name: alone}, spec: {pack: web, nodeName: a1, affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [` + toS1 + `]}}}}`,
			`{kind: Pod, metadata: {labels: {security: S1}}, spec: {pack: web}}`,
			[]string{"b1", "nowhere"},
			refusal{},
		},
		{
			"every node is near a pod that wants to be alone", `{kind: Node, metadata: {name: a1, labels: {zone: a}}}
---
{kind: Pod, metadata: {name: alone}, spec: {pack: web, nodeName: a1, affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [` + toS1 + `]}}}}`,
			`{kind: Pod, metadata: {labels: {security: S1}}, spec: {pack: web}}`, nil,
			refusal{"PodAntiAffinity", "0/1 nodes are available: 1 node(s) did not satisfy existing pods' anti-affinity rules.", "stop the pod that will not have it near where zone is a, or add a node elsewhere"},
		},
	})
}

func TestInterPodAffinityAcrossNamespaces(t *testing.T) {
	t.Parallel()
	const given = `
{kind: Namespace, metadata: {name: team-a, labels: {team: a}}}
---
{kind: Namespace, metadata: {name: team-b, labels: {team: b}}}
---
{kind: Node, metadata: {name: a, labels: {zone: a}}}
---
{kind: Node, metadata: {name: b, labels: {zone: b}}}
---
{kind: Pod, metadata: {name: s1, namespace: team-a, labels: {security: S1}}, spec: {pack: web, nodeName: a}}
---
{kind: Pod, metadata: {name: alone, namespace: team-a}, spec: {pack: web, nodeName: b, affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {noisy: "yes"}}, namespaceSelector: {matchLabels: {team: b}}, topologyKey: zone}]}}}}
`
	pod := func(kind, of string) string {
		return `{kind: Pod, metadata: {namespace: team-b}, spec: {pack: web, affinity: {` + kind + `: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {security: S1}}, topologyKey: zone` + of + `}]}}}}`
	}
	none := func(change string) refusal {
		return refusal{"PodAffinity", "0/2 nodes are available: 2 node(s) did not match pod affinity rules.", change}
	}
	examples(t, []example{
		{"without namespaces it means its own", given, pod("podAffinity", ``), nil, none("run a pod with security=S1 where zone is a")},
		{"namespaces by name", given, pod("podAffinity", `, namespaces: [team-a]`), []string{"a"}, refusal{}},
		{"namespaces by label", given, pod("podAffinity", `, namespaceSelector: {matchLabels: {team: a}}`), []string{"a"}, refusal{}},
		{"namespaces by another label", given, pod("podAffinity", `, namespaceSelector: {matchLabels: {team: c}}`), nil, none("run a pod with security=S1 in a namespace with team=c where zone is a")},
		{"an empty selector means all namespaces", given, pod("podAffinity", `, namespaceSelector: {}`), []string{"a"}, refusal{}},
		{"names and labels add up", given, pod("podAffinity", `, namespaces: [team-a], namespaceSelector: {matchLabels: {team: c}}`), []string{"a"}, refusal{}},
		{"anti-affinity without namespaces", given, pod("podAntiAffinity", ``), []string{"a", "b"}, refusal{}},
		{"anti-affinity by name", given, pod("podAntiAffinity", `, namespaces: [team-a]`), []string{"b"}, refusal{}},
		{"one of another namespace wants to be alone", given, `{kind: Pod, metadata: {namespace: team-b, labels: {noisy: "yes"}}, spec: {pack: web}}`, []string{"a"}, refusal{}},
		{"it does not mind this namespace", given, `{kind: Pod, metadata: {namespace: team-a, labels: {noisy: "yes"}}, spec: {pack: web}}`, []string{"a", "b"}, refusal{}},
	})
}

// The web servers and their caches of Kubernetes' documentation: three nodes get one of
// each, and a fourth pair finds no node.
func TestEveryWebServerBesideItsCache(t *testing.T) {
	t.Parallel()
	const nodes = `
{kind: Node, metadata: {name: node-1}}
---
{kind: Node, metadata: {name: node-2}}
---
{kind: Node, metadata: {name: node-3}}
`
	const cache = `
kind: Pod
metadata: {labels: {app: store}}
spec:
  pack: web
  affinity:
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {labelSelector: {matchExpressions: [{key: app, operator: In, values: [store]}]}, topologyKey: kubernetes.io/hostname}
`
	const server = `
kind: Pod
metadata: {labels: {app: web-store}}
spec:
  pack: web
  affinity:
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {labelSelector: {matchExpressions: [{key: app, operator: In, values: [web-store]}]}, topologyKey: kubernetes.io/hostname}
    podAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {labelSelector: {matchExpressions: [{key: app, operator: In, values: [store]}]}, topologyKey: kubernetes.io/hostname}
`
	g := newGround(t)
	g.given(t, nodes)
	for _, kind := range []string{cache, server} {
		on := map[string]bool{}
		for range 3 {
			on[g.decided(t, g.create(t, one(t, kind))).NodeName] = true
		}
		if len(on) != 3 || on[""] {
			t.Errorf("got nodes %v, want one pod on each of three", on)
		}
	}
	for app, kind := range map[string]string{"store": cache, "web-store": server} {
		g.refuses(t, g.create(t, one(t, kind)), refusal{
			"PodAntiAffinity", "0/3 nodes are available: 3 node(s) did not match pod anti-affinity rules.",
			"stop the pod with app=" + app + " where kubernetes.io/hostname is node-1, or add a node elsewhere",
		})
	}
}
