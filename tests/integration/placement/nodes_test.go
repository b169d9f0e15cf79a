package placement

import "testing"

// https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
func TestAssigningPodsToNodes(t *testing.T) {
	t.Parallel()
	const zones = `
kind: Node
metadata: {name: east, labels: {topology.kubernetes.io/zone: antarctica-east1, disktype: ssd, gpus: "4", rank: many}}
---
kind: Node
metadata: {name: south, labels: {topology.kubernetes.io/zone: antarctica-south1, disktype: hdd, gpus: "1"}}
---
kind: Node
metadata: {name: west, labels: {topology.kubernetes.io/zone: antarctica-west1, another-node-label-key: another-node-label-value}}
`
	require := func(term string) string {
		return `{kind: Pod, spec: {pack: web, affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [` + term + `]}}}}}`
	}
	noAffinity := func(change string) refusal {
		return refusal{"NodeAffinity", "0/3 nodes are available: 3 node(s) did not match the pod's node affinity.", change}
	}
	examples(t, []example{
		{"nodeSelector", zones, `{kind: Pod, spec: {pack: web, nodeSelector: {disktype: ssd}}}`, []string{"east"}, refusal{}},
		{"nodeSelector that no node meets", zones, `{kind: Pod, spec: {pack: web, nodeSelector: {disktype: nvme}}}`, nil, refusal{
			"NodeSelector", "0/3 nodes are available: 3 node(s) did not match the pod's node selector.", "label east with disktype=nvme",
		}},
		{"with-node-affinity", zones, `
kind: Pod
metadata: {name: with-node-affinity}
spec:
  pack: web
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions:
          - key: topology.kubernetes.io/zone
            operator: In
            values: [antarctica-east1, antarctica-west1]
      preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 1
        preference:
          matchExpressions:
          - {key: another-node-label-key, operator: In, values: [another-node-label-value]}
`, []string{"east", "west"}, refusal{}},
		{"terms are ORed", zones, require(`{matchExpressions: [{key: disktype, operator: In, values: [hdd]}]}, {matchExpressions: [{key: disktype, operator: In, values: [ssd]}]}`), []string{"east", "south"}, refusal{}},
		{"expressions are ANDed", zones, require(`{matchExpressions: [{key: disktype, operator: Exists}, {key: gpus, operator: Gt, values: ["2"]}]}`), []string{"east"}, refusal{}},
		{"nodeSelector and affinity must both hold", zones, `{kind: Pod, spec: {pack: web, nodeSelector: {disktype: ssd}, affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: disktype, operator: In, values: [hdd]}]}]}}}}}`, nil, refusal{
			"NodeAffinity", "0/3 nodes are available: 2 node(s) did not match the pod's node selector, 1 node(s) did not match the pod's node affinity.", "label east with disktype=hdd",
		}},
		{"an empty term matches no node", zones, require(`{}`), nil, noAffinity("give the pod's node affinity a term with conditions: no node meets an empty one")},
		{"an empty term beside another", zones, require(`{}, {matchExpressions: [{key: disktype, operator: Exists}]}`), []string{"east", "south"}, refusal{}},
		{"NotIn takes nodes without the label", zones, require(`{matchExpressions: [{key: disktype, operator: NotIn, values: [ssd]}]}`), []string{"south", "west"}, refusal{}},
		{"DoesNotExist", zones, require(`{matchExpressions: [{key: disktype, operator: DoesNotExist}]}`), []string{"west"}, refusal{}},
		{"In needs the label", zones, require(`{matchExpressions: [{key: absent, operator: In, values: ["1"]}]}`), nil, noAffinity("label east with absent=1")},
		{"Gt needs the label, and a number", zones, require(`{matchExpressions: [{key: rank, operator: Gt, values: ["0"]}]}`), nil, noAffinity("label east with rank above 0")},
		{"Lt needs the label, and a number", zones, require(`{matchExpressions: [{key: rank, operator: Lt, values: ["9"]}]}`), nil, noAffinity("label east with rank below 9")},
		{"Gt excludes its value", zones, require(`{matchExpressions: [{key: gpus, operator: Gt, values: ["1"]}]}`), []string{"east"}, refusal{}},
		{"Lt", zones, require(`{matchExpressions: [{key: gpus, operator: Lt, values: ["2"]}]}`), []string{"south"}, refusal{}},
		{"matchFields", zones, require(`{matchFields: [{key: metadata.name, operator: In, values: [south]}]}`), []string{"south"}, refusal{}},
		{"matchFields NotIn", zones, require(`{matchFields: [{key: metadata.name, operator: NotIn, values: [south]}]}`), []string{"east", "west"}, refusal{}},
		{"matchFields and expressions of one term", zones, require(`{matchFields: [{key: metadata.name, operator: In, values: [south]}], matchExpressions: [{key: disktype, operator: In, values: [ssd]}]}`), nil, noAffinity("leave the node's name out of the pod's affinity")},
		{"nodeName", zones, `{kind: Pod, spec: {pack: web, nodeName: west}}`, []string{"west"}, refusal{}},
		{"nodeName of no node", zones, `{kind: Pod, spec: {pack: web, nodeName: north}}`, nil, refusal{
			"NodeName", "0/3 nodes are available: 3 node(s) did not match the requested node name.", "name a node that is there, such as east: there is no north",
		}},
	})
}

// What a pack asks of the runtime is Stark's own.
func TestWhatAPackAsksOfTheRuntime(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.pack(t, "modern", `{"minNodeVersion": "22.0.0"}`)
	g.pack(t, "drawing", `{"requiredCapabilities": ["gpu", "camera"]}`)
	const nodes = `
kind: Node
metadata: {name: old}
status: {capabilities: {version: v20.19.0, features: [camera]}}
---
kind: Node
metadata: {name: tab}
status: {runtimeType: browser, capabilities: {version: "130", features: [gpu, camera]}}
`
	const new = `
---
kind: Node
metadata: {name: new}
status: {capabilities: {version: v22.0.0, features: [camera, gpu]}}
`
	for _, ex := range []example{
		{"minNodeVersion", nodes + new, `{kind: Pod, spec: {pack: modern}}`, []string{"new"}, refusal{}},
		{"no node is recent enough", nodes, `{kind: Pod, spec: {pack: modern}}`, nil, refusal{
			"RuntimeVersion", "0/2 nodes are available: 1 node(s) had an older runtime than 22.0.0, 1 node(s) had another runtime than the pack needs.",
			"run Node.js 22.0.0 or newer on old, which has v20.19.0",
		}},
		{"requiredCapabilities", nodes + new, `{kind: Pod, spec: {pack: drawing}}`, []string{"new"}, refusal{}},
		{"no node has the capability", nodes, `{kind: Pod, spec: {pack: drawing}}`, nil, refusal{
			"Capabilities", "0/2 nodes are available: 1 node(s) had another runtime than the pack needs, 1 node(s) lacked the capability gpu.", "add a node that has gpu",
		}},
	} {
		t.Run(ex.name, func(t *testing.T) { g.try(t, ex) }) //nolint:paralleltest // they share the nodes of one cluster, one after the other
	}
}
