package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/shared/api"
)

// clusterTaints begins the keys of taints that the cluster sets, and nobody by hand.
const clusterTaints = "node.stark.io/"

// maxCompared bounds the nodes among which the smallest change is looked for.
const maxCompared = 10

// change words the smallest change that would let the pod onto one of the nodes that
// came nearest: everything that refuses it there, on the node where that is least.
func (x *index) change(q *query, near []int32) string {
	var least []string
	for _, slot := range near[:min(len(near), maxCompared)] {
		if all := x.changes(q, slot); least == nil || len(all) < len(least) {
			least = all
		}
		if len(least) == 1 {
			break
		}
	}
	return strings.Join(least, "; ")
}

// changes words everything that would have to change for a node to take the pod.
func (x *index) changes(q *query, slot int32) []string {
	var all []string
	for _, f := range x.misses(q, slot) {
		for _, h := range x.hints(q, slot, f) {
			if !slices.Contains(all, h) {
				all = append(all, h)
			}
		}
	}
	return all
}

// misses gives every filter that refuses the pod on a node, in their order; there are
// none where the node takes the pod.
func (x *index) misses(q *query, slot int32) []filterID {
	var all []filterID
	c, s := &x.classes[x.class[slot]], &q.pod.Scheduling
	add := func(f filterID, refused bool) {
		if refused {
			all = append(all, f)
		}
	}
	lost := func(by func(q *query, mask bitset)) bool {
		quiet := *q
		quiet.failed = nil
		mask := x.scratch.mask
		clear(mask)
		mask.set(slot)
		by(&quiet, mask)
		return !mask.has(slot)
	}
	for f := filterRuntime; f <= filterTaints; f++ {
		if f == filterNodeName {
			add(f, s.NodeName != "" && x.nodes[slot].node.Name != s.NodeName)
		} else {
			add(f, refusedBy(q, c, f))
		}
	}
	add(filterNodeSelector, lost(func(_ *query, mask bitset) { x.selected(s.NodeSelector, mask) }))
	if s.NodeAffinity != nil && s.NodeAffinity.Required != nil {
		add(filterNodeAffinity, lost(func(_ *query, mask bitset) { x.near(s.NodeAffinity.Required, mask) }))
	}
	for f := filterCPU; f <= filterPods; f++ {
		asked, free := x.amounts(q, slot, f)
		add(f, asked > free && asked > 0)
	}
	add(filterPodAffinity, lost(x.byAffinity))
	add(filterAntiAffinity, lost(x.byAntiAffinity))
	add(filterSymmetry, lost(x.bySymmetry))
	if x.unlabelled(q, slot) != "" {
		return append(all, filterSpreadLabel)
	}
	add(filterSpread, lost(x.bySpread))
	return all
}

// hints words what would help past one filter on one node.
func (x *index) hints(q *query, slot int32, f filterID) []string {
	n, c, s := x.nodes[slot].node, &x.classes[x.class[slot]], &q.pod.Scheduling
	var one string
	switch f {
	case filterRuntime:
		one = fmt.Sprintf("add a node that runs packs for %s", q.pod.RuntimeTag)
	case filterRuntimeVersion:
		one = fmt.Sprintf("run Node.js %s or newer on %s, which has %s", q.demands.minVersion, n.Name, n.Capabilities.Version)
	case filterCapabilities:
		one = fmt.Sprintf("add a node that has %s", strings.Join(q.demands.lacking(n), ", "))
	case filterNodeAccess:
		one = access(n, q.pod.Namespace)
	case filterNodeName:
		if one = "leave the node's name out of the pod"; !x.named(s.NodeName) {
			one = fmt.Sprintf("name a node that is there, such as %s: there is no %s", n.Name, s.NodeName)
		}
	case filterNodeReady:
		one = revive(n)
	case filterUnschedulable:
		one = "uncordon " + n.Name
	case filterTaints:
		return tolerate(q, c, n)
	case filterNodeSelector:
		one = labelled(n, s.NodeSelector)
	case filterNodeAffinity:
		return meet(n, s.NodeAffinity.Required)
	case filterCPU, filterMemory, filterStorage, filterPods:
		one = x.changeOfRoom(q, slot)
	default:
		return x.hintsOfPods(q, slot, f)
	}
	return []string{one}
}

func (x *index) named(node string) bool {
	_, there := x.names[node]
	return there
}

// access words how a private node comes to serve a namespace.
func access(n *api.Node, namespace string) string {
	if slices.Contains(n.Namespaces, namespace) {
		return fmt.Sprintf("make the owner of %s a member of namespace %s, more than a viewer", n.Name, namespace)
	}
	return fmt.Sprintf("have %s shared, or its owner list namespace %s", n.Name, namespace)
}

// revive words how a node gets ready.
func revive(n *api.Node) string {
	switch n.Status {
	case api.NodeDraining:
		return "uncordon " + n.Name // which ends the drain
	case api.NodeMaintenance:
		return "end the maintenance of " + n.Name
	default:
		return fmt.Sprintf("bring %s back online; it is %s", n.Name, n.Status)
	}
}

// tolerate words what to do about every taint that the pod does not tolerate. Taints
// that say what the node's status or its cordon says already are told of there.
func tolerate(q *query, c *class, n *api.Node) []string {
	var theirs, ours []string
	for _, t := range c.hard {
		if toleratedBy(q.pod.Tolerations, t) || impliedBy(n, t) {
			continue
		}
		text := fmt.Sprintf("{%s: %s}", t.Key, t.Value)
		if strings.HasPrefix(t.Key, clusterTaints) {
			ours = append(ours, text)
		} else if !slices.Contains(theirs, text) { // with another effect
			theirs = append(theirs, text)
		}
	}
	var hints []string
	if len(theirs) > 0 {
		hints = append(hints, fmt.Sprintf("tolerate %s of %s, or take %s away", strings.Join(theirs, ", "), n.Name, plural(len(theirs), "that taint", "those taints")))
	}
	if len(ours) > 0 {
		hints = append(hints, fmt.Sprintf("tolerate %s of %s, or wait until it is over", strings.Join(ours, ", "), n.Name))
	}
	return hints
}

func impliedBy(n *api.Node, t api.Taint) bool {
	switch t.Key {
	case node.TaintUnschedulable:
		return n.Unschedulable || n.Status == api.NodeDraining
	case node.TaintNotReady, node.TaintUnreachable, node.TaintMaintenance:
		return !node.Ready(n.Status)
	default:
		return false
	}
}

// numbered words a number of pods.
func numbered(n int) string { return fmt.Sprintf("%d %s", n, plural(n, "pod", "pods")) }

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}
