package scheduler

import (
	"math/bits"

	"github.com/stark-orchestrator/stark/shared/api"
)

// byPods leaves the nodes that are well placed in relation to the pods of others.
func (x *index) byPods(q *query, mask bitset) {
	x.byAffinity(q, mask)
	x.byAntiAffinity(q, mask)
	x.bySymmetry(q, mask)
	x.bySpread(q, mask)
}

// byAntiAffinity leaves the nodes that are not near pods that the pod keeps away from.
func (x *index) byAntiAffinity(q *query, mask bitset) {
	a := q.pod.Scheduling.PodAntiAffinity
	if a == nil {
		return
	}
	for _, t := range a.Required {
		counted := x.term(podSet{Parts: []podPart{partOf(t, q.pod.Namespace)}})
		if counted.total > 0 {
			x.shun(q, x.column(t.TopologyKey), counted.counts, counted.where, mask, filterAntiAffinity)
		}
	}
}

// bySymmetry leaves the nodes that are not near pods that keep away from the pod.
func (x *index) bySymmetry(q *query, mask bitset) {
	for o := range x.ownedOf.about(q.pod.Labels) {
		if o.antiTotal > 0 && o.part.selects(x, q.pod) {
			x.shun(q, x.column(o.topology), o.anti, o.where, mask, filterSymmetry)
		}
	}
}

// byAffinity leaves the nodes that have, for each term, pods near that meet all
// terms. Where there are none at all, a pod that meets them itself may be the first.
func (x *index) byAffinity(q *query, mask bitset) {
	a := q.pod.Scheduling.PodAffinity
	if a == nil || len(a.Required) == 0 {
		return
	}
	terms := a.Required
	set := podSet{Parts: make([]podPart, len(terms))}
	for i, t := range terms {
		set.Parts[i] = partOf(t, q.pod.Namespace)
	}
	counted := x.term(set)
	before := x.scratch.before
	copy(before, mask)
	first := set.selects(x, q.pod) && !x.anyNear(terms, counted)
	for _, t := range terms {
		c := x.column(t.TopologyKey)
		if first {
			c.present(mask)
			continue
		}
		sums := c.sum(counted.counts, counted.where)
		keep(mask, func(slot int) bool { return sums[c.values[slot]] > 0 })
	}
	q.noteLost(before, mask, filterPodAffinity)
}

// anyNear reports whether a pod of the term is on a node with any of the labels.
func (x *index) anyNear(terms []api.PodAffinityTerm, counted *term) bool {
	if counted.total == 0 {
		return false
	}
	for _, t := range terms {
		for _, n := range x.column(t.TopologyKey).sum(counted.counts, counted.where) {
			if n > 0 {
				return true
			}
		}
	}
	return false
}

// keep leaves the slots that ok says.
func keep(mask bitset, ok func(slot int) bool) {
	for w, word := range mask {
		for left := word; left != 0; left &= left - 1 {
			bit := bits.TrailingZeros64(left)
			if !ok(w*wordBits + bit) {
				word &^= 1 << bit
			}
		}
		mask[w] = word
	}
}

// shun leaves the nodes that share no value of the label with a node that counts.
// A node without the label shares nothing.
func (x *index) shun(q *query, c *column, counts []int32, where, mask bitset, f filterID) {
	before := x.scratch.before
	copy(before, mask)
	for _, v := range c.gather(counts, where) {
		if c.sums.of[v] == 0 {
			continue
		}
		for _, slot := range c.sharing(v) {
			mask.unset(slot)
		}
	}
	q.noteLost(before, mask, f)
}

// bySpread leaves the nodes on which the pod keeps all constraints that forbid.
func (x *index) bySpread(q *query, mask bitset) {
	if len(q.pod.Scheduling.TopologySpreadConstraints) == 0 {
		return
	}
	before := x.scratch.before
	places := x.places(q, api.DoNotSchedule)
	for i := range q.pod.Scheduling.TopologySpreadConstraints {
		s := &q.pod.Scheduling.TopologySpreadConstraints[i]
		if actionOf(s) != api.DoNotSchedule {
			continue
		}
		c := x.column(s.TopologyKey)
		copy(before, mask)
		c.present(mask)
		q.noteLost(before, mask, filterSpreadLabel)
		most, _ := x.mostOf(q, s, c, places)
		copy(before, mask)
		keep(mask, func(slot int) bool { return c.count[c.values[slot]] <= most })
		q.noteLost(before, mask, filterSpread)
	}
}

// mostOf gives how many pods a value may hold already, and how many values there are,
// and leaves in c.count how many each holds.
func (x *index) mostOf(q *query, s *api.TopologySpreadConstraint, c *column, places bitset) (most int32, domains int) {
	set := spreadSet(s, q.pod.Namespace)
	_, least, domains := c.spread(x.term(set).counts, places)
	if s.MinDomains != nil && domains < *s.MinDomains {
		least = 0
	}
	most = least + int32(s.MaxSkew)
	if set.selects(x, q.pod) {
		most--
	}
	return most, domains
}

func spreadSet(s *api.TopologySpreadConstraint, namespace string) podSet {
	return podSet{Parts: []podPart{{Labels: s.LabelSelector, Namespaces: []string{namespace}}}, Live: true}
}

func actionOf(s *api.TopologySpreadConstraint) api.UnsatisfiableAction {
	if s.WhenUnsatisfiable == "" {
		return api.DoNotSchedule
	}
	return s.WhenUnsatisfiable
}

// places gives the nodes over which a pod is spread: those that meet its node
// selector and affinity and have every label of its constraints of that action.
func (x *index) places(q *query, action api.UnsatisfiableAction) bitset {
	s, places := &q.pod.Scheduling, x.scratch.places
	copy(places, x.alive)
	if len(s.NodeSelector) > 0 {
		x.selected(s.NodeSelector, places)
	}
	if s.NodeAffinity != nil && s.NodeAffinity.Required != nil {
		x.near(s.NodeAffinity.Required, places)
	}
	for i := range s.TopologySpreadConstraints {
		if c := &s.TopologySpreadConstraints[i]; actionOf(c) == action {
			x.column(c.TopologyKey).present(places)
		}
	}
	return places
}
