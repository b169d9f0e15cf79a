package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stark-orchestrator/stark/shared/api"
)

// labelled words the labels that a node selector asks for and the node does not have.
func labelled(n *api.Node, want map[string]string) string {
	var missing []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if have, ok := n.Labels[k]; !ok || have != want[k] {
			missing = append(missing, k+"="+want[k])
		}
	}
	return fmt.Sprintf("label %s with %s", n.Name, strings.Join(missing, ","))
}

// meet words what of the term that a node comes nearest to is not met there.
func meet(n *api.Node, s *api.NodeSelector) []string {
	var best []string
	for _, t := range s.NodeSelectorTerms {
		var unmet []string
		for _, r := range t.MatchExpressions {
			if !r.Matches(n.Labels) {
				unmet = append(unmet, require(n, r))
			}
		}
		for _, r := range t.MatchFields {
			if !r.Matches(map[string]string{api.FieldMetadataName: n.Name}) {
				unmet = append(unmet, "leave the node's name out of the pod's affinity")
			}
		}
		if len(unmet) > 0 && (best == nil || len(unmet) < len(best)) {
			best = unmet
		}
	}
	if best == nil {
		return []string{"give the pod's node affinity a term with conditions: no node meets an empty one"}
	}
	return best
}

// require words how a node comes to meet a requirement on its labels.
func require(n *api.Node, r api.Requirement) string {
	with := func(text string) string { return fmt.Sprintf("label %s with %s", n.Name, text) }
	switch r.Operator {
	case api.OpIn:
		if len(r.Values) == 1 {
			return with(r.Key + "=" + r.Values[0])
		}
		return with(fmt.Sprintf("%s as one of %s", r.Key, strings.Join(r.Values, ", ")))
	case api.OpGt:
		return with(fmt.Sprintf("%s above %s", r.Key, strings.Join(r.Values, "")))
	case api.OpLt:
		return with(fmt.Sprintf("%s below %s", r.Key, strings.Join(r.Values, "")))
	case api.OpExists:
		return with(r.Key)
	default: // NotIn, DoesNotExist
		return fmt.Sprintf("take the label %s off %s", r.Key, n.Name)
	}
}

// hintsOfPods words what would help past a filter that looks at the pods of others.
func (x *index) hintsOfPods(q *query, slot int32, f filterID) []string {
	n, s := x.nodes[slot].node, &q.pod.Scheduling
	switch f {
	case filterPodAffinity:
		return x.attract(q, n, s.PodAffinity.Required)
	case filterAntiAffinity:
		return x.part(q, slot, s.PodAntiAffinity.Required)
	case filterSymmetry:
		return x.appease(q, slot)
	case filterSpreadLabel:
		return []string{fmt.Sprintf("label %s with %s, by which the pod is spread", n.Name, x.unlabelled(q, slot))}
	case filterSpread:
		return x.even(q, slot)
	default:
	}
	return nil
}

func at(n *api.Node, topology string) string { return topology + " is " + n.Labels[topology] }

func pods(n int32) string {
	if n == 1 {
		return "pod"
	}
	return fmt.Sprintf("%d pods", n)
}

// around counts within the value that a node has of a label.
func (x *index) around(slot int32, topology string, counts []int32, where bitset) int32 {
	c := x.column(topology)
	return c.sum(counts, where)[c.values[slot]]
}

// attract words which pods would have to be near a node.
func (x *index) attract(q *query, n *api.Node, terms []api.PodAffinityTerm) []string {
	var hints []string
	for _, t := range terms {
		_, labelled := n.Labels[t.TopologyKey]
		switch {
		case t.LabelSelector == nil:
			hints = append(hints, "give the pod's affinity a label selector: without one it means no pods")
		case !labelled:
			hints = append(hints, fmt.Sprintf("label %s with %s, by which the pod's affinity tells near from far", n.Name, t.TopologyKey))
		default:
			hints = append(hints, fmt.Sprintf("run a pod %s where %s", meant(q, t), at(n, t.TopologyKey)))
		}
	}
	return hints
}

// meant words the pods of an affinity term.
func meant(q *query, t api.PodAffinityTerm) string {
	text := "with any labels"
	if s := t.LabelSelector.Selector(); len(s) > 0 {
		text = "with " + s.String()
	}
	part := partOf(t, q.pod.Namespace)
	var in []string
	if len(part.Namespaces) > 0 && !slices.Equal(part.Namespaces, []string{q.pod.Namespace}) {
		in = append(in, "namespace "+strings.Join(part.Namespaces, ", "))
	}
	if part.Of != nil {
		if s := part.Of.Selector(); len(s) > 0 {
			in = append(in, "a namespace with "+s.String())
		} else {
			in = append(in, "any namespace")
		}
	}
	if len(in) > 0 {
		text += " in " + strings.Join(in, " or ")
	}
	return text
}

// part words which pods would have to leave for the pod's own anti-affinity.
func (x *index) part(q *query, slot int32, terms []api.PodAffinityTerm) []string {
	n := x.nodes[slot].node
	var hints []string
	for _, t := range terms {
		counted := x.term(podSet{Parts: []podPart{partOf(t, q.pod.Namespace)}})
		if sum := x.around(slot, t.TopologyKey, counted.counts, counted.where); sum > 0 {
			hints = append(hints, fmt.Sprintf("stop the %s %s where %s, or add a node elsewhere", pods(sum), meant(q, t), at(n, t.TopologyKey)))
		}
	}
	return hints
}

// appease words which pods would have to leave that keep away from the pod, besides
// those that it keeps away from itself: of them part tells.
func (x *index) appease(q *query, slot int32) []string {
	n := x.nodes[slot].node
	theirs := map[string]int32{} // by topology key
	for _, o := range x.owned {
		if o.antiTotal == 0 || !o.part.selects(x, q.pod) {
			continue
		}
		c := x.column(o.topology)
		if c.values[slot] == absent {
			continue
		}
		for _, there := range o.where.slots(nil) {
			if c.values[there] == c.values[slot] {
				theirs[o.topology] += x.shunned(q, n, o, there)
			}
		}
	}
	var hints []string
	for _, topology := range slices.Sorted(maps.Keys(theirs)) {
		if sum := theirs[topology]; sum > 0 {
			hints = append(hints, fmt.Sprintf("stop the %s that will not have it near where %s, or add a node elsewhere", pods(sum), at(n, topology)))
		}
	}
	return hints
}

// shunned counts the pods of a slot that have a term of anti-affinity and that the
// pod's own terms do not mean on node n.
func (x *index) shunned(q *query, n *api.Node, o *ownedTerm, slot int32) int32 {
	var sum int32
	for _, e := range x.nodes[slot].pods {
		a := e.pod.Scheduling.PodAntiAffinity
		owns := a != nil && slices.ContainsFunc(a.Required, func(t api.PodAffinityTerm) bool {
			return ownedKey(partOf(t, e.pod.Namespace), t.TopologyKey) == o.key
		})
		own := q.pod.Scheduling.PodAntiAffinity
		meant := own != nil && slices.ContainsFunc(own.Required, func(t api.PodAffinityTerm) bool {
			value, ok := x.nodes[slot].node.Labels[t.TopologyKey]
			part := partOf(t, q.pod.Namespace)
			return ok && value == n.Labels[t.TopologyKey] && part.selects(x, e.pod)
		})
		if owns && !meant {
			sum++
		}
	}
	return sum
}

// unlabelled gives a label that a node lacks and the pod is spread by, "" for none.
func (x *index) unlabelled(q *query, slot int32) string {
	for i := range q.pod.Scheduling.TopologySpreadConstraints {
		s := &q.pod.Scheduling.TopologySpreadConstraints[i]
		if _, ok := x.nodes[slot].node.Labels[s.TopologyKey]; !ok && actionOf(s) == api.DoNotSchedule {
			return s.TopologyKey
		}
	}
	return ""
}

// even words the skew that would do for every constraint that a node breaks.
func (x *index) even(q *query, slot int32) []string {
	var hints []string
	places := x.places(q, api.DoNotSchedule)
	for i := range q.pod.Scheduling.TopologySpreadConstraints {
		s := &q.pod.Scheduling.TopologySpreadConstraints[i]
		if actionOf(s) != api.DoNotSchedule {
			continue
		}
		c := x.column(s.TopologyKey)
		most, domains := x.mostOf(q, s, c, places)
		over := c.count[c.values[slot]] - most
		switch {
		case over <= 0:
		case s.MinDomains != nil && domains < *s.MinDomains:
			hints = append(hints, fmt.Sprintf("add a node with another %s: there are %d, and minDomains asks for %d", s.TopologyKey, domains, *s.MinDomains))
		default:
			hints = append(hints, fmt.Sprintf("allow a maxSkew of %d by %s, or make room where it has fewer pods", s.MaxSkew+int(over), s.TopologyKey))
		}
	}
	return hints
}
