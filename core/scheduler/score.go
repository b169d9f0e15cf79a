package scheduler

import (
	"math/bits"

	"github.com/stark-orchestrator/stark/shared/api"
)

// MaxScore is the best score of a node.
const MaxScore = 100

// The scorers. Policy and taints always count, the others where they have to say
// something about the pod.
const (
	scorePolicy = iota
	scoreTaints
	scoreNodeAffinity
	scorePodAffinity
	scoreSpread
	scoreBundle
	scorerCount
)

// affinityFactor makes preferences weigh so much under the policy "affinity" that
// they decide, and spread decides among equals.
const affinityFactor = 10

// weigher says what each scorer counts, 0 for one that says nothing.
type weigher [scorerCount]int32

func (x *index) weigher() weigher {
	given := x.config.ScoreWeights
	w := weigher{
		scorePolicy: orElse(given.Policy, 10), scoreTaints: orElse(given.Taints, 30),
		scoreNodeAffinity: orElse(given.NodeAffinity, 20), scorePodAffinity: orElse(given.PodAffinity, 20),
		scoreSpread: orElse(given.TopologySpread, 20), scoreBundle: orElse(given.Bundle, 1),
	}
	if x.config.SchedulingPolicy == api.PolicyAffinity {
		w[scoreNodeAffinity] *= affinityFactor
		w[scorePodAffinity] *= affinityFactor
	}
	return w
}

func orElse(given *int, usual int32) int32 {
	if given == nil {
		return usual
	}
	return int32(*given)
}

// rate scores the nodes that fit: scratch.scores by scorer and scratch.totals, one
// number for each of fits. It gives what counted.
func (x *index) rate(q *query, fits []int32) weigher {
	w, s := x.weigher(), &x.scratch
	x.ratePolicy(q, fits, s.scores[scorePolicy])
	x.rateTaints(fits, s.scores[scoreTaints])
	if !x.rateNodeAffinity(q, fits, s.scores[scoreNodeAffinity]) {
		w[scoreNodeAffinity] = 0
	}
	if !x.ratePodAffinity(q, fits, s.scores[scorePodAffinity]) {
		w[scorePodAffinity] = 0
	}
	if !x.rateSpread(q, fits, s.scores[scoreSpread]) {
		w[scoreSpread] = 0
	}
	if !x.rateBundle(q, fits, s.scores[scoreBundle]) {
		w[scoreBundle] = 0
	}
	totals := s.totals[:len(fits)]
	clear(totals)
	for k, weight := range w {
		if weight == 0 {
			continue
		}
		for i, score := range s.scores[k][:len(fits)] {
			totals[i] += weight * score
		}
	}
	return w
}

func (x *index) ratePolicy(q *query, fits, scores []int32) {
	switch x.config.SchedulingPolicy {
	case api.PolicyBinpack: // prefer nodes that would be fuller
		for i, slot := range fits {
			scores[i] = int32(x.load(q, slot) * MaxScore)
		}
	case api.PolicyLeastLoaded:
		for i, slot := range fits {
			scores[i] = MaxScore - int32(x.load(q, slot)*MaxScore)
		}
	case api.PolicyRandom: // by pod and node, so that the same pair gives the same number
		seed := hashOf(q.pod.ID)
		for i, slot := range fits {
			scores[i] = int32(mix(seed^x.nodes[slot].hash) % (MaxScore + 1))
		}
	default: // prefer nodes with fewer pods
		for i, slot := range fits {
			scores[i] = x.count[slot]
		}
		fewer(scores[:len(fits)])
	}
}

// mix is the finisher of splitmix64.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// load is the mean share of cpu and memory that would be taken with the pod, 0 to 1.
func (x *index) load(q *query, slot int32) float64 {
	part := &x.parts[slot]
	cpu := 1 - float64(x.cpu[slot]-q.asked.cpu)*part.cpu
	memory := 1 - float64(x.memory[slot]-q.asked.memory)*part.memory
	return (min(max(cpu, 0), 1) + min(max(memory, 0), 1)) / 2
}

// portions is what one unit is of all that a node has; 0 where it has none, so that
// it counts as full.
type portions struct{ cpu, memory float64 }

func portionsOf(c api.Capacity) portions {
	portion := func(of int64) float64 {
		if of <= 0 {
			return 0
		}
		return 1 / float64(of)
	}
	return portions{cpu: portion(int64(c.CPU)), memory: portion(int64(c.Memory))}
}

// fewer gives MaxScore to the lowest number and 0 to the highest.
func fewer(scores []int32) {
	low, high := bounds(scores)
	if high == low {
		for i := range scores {
			scores[i] = MaxScore
		}
		return
	}
	scale := scaleOf(low, high)
	for i := range scores {
		scores[i] = int32(float64(high-scores[i]) * scale)
	}
}

// more gives MaxScore to the highest number and 0 to the lowest. It reports false
// where all are the same: then they tell no node from another.
func more(scores []int32) bool {
	low, high := bounds(scores)
	if high == low {
		return false
	}
	scale := scaleOf(low, high)
	for i := range scores {
		scores[i] = int32(float64(scores[i]-low) * scale)
	}
	return true
}

// scaleOf is rounded up by so little that the ends come out whole. A division for
// each node would cost as much as all else.
func scaleOf(low, high int32) float64 { return MaxScore / float64(high-low) * (1 + 1e-12) }

func bounds(scores []int32) (low, high int32) {
	low, high = scores[0], scores[0]
	for _, s := range scores[1:] {
		low, high = min(low, s), max(high, s)
	}
	return low, high
}

// rateTaints prefers nodes with fewer PreferNoSchedule taints that the pod does not
// tolerate.
func (x *index) rateTaints(fits, scores []int32) {
	for i, slot := range fits {
		scores[i] = x.classes[x.class[slot]].dislike
	}
	fewer(scores[:len(fits)])
}

func (x *index) rateNodeAffinity(q *query, fits, scores []int32) bool {
	a := q.pod.Scheduling.NodeAffinity
	if a == nil || len(a.Preferred) == 0 {
		return false
	}
	by := x.scratch.weights
	clear(by)
	x.wish(q, by)
	for i, slot := range fits {
		scores[i] = by[slot]
	}
	return more(scores[:len(fits)])
}

// wish adds up how much the pod prefers each node for what it is.
func (x *index) wish(q *query, by []int32) {
	a := q.pod.Scheduling.NodeAffinity
	if a == nil {
		return
	}
	for _, p := range a.Preferred {
		mask := x.scratch.other
		copy(mask, x.alive)
		x.meets(p.Preference, mask)
		for w, word := range mask {
			for ; word != 0; word &= word - 1 {
				by[w*wordBits+bits.TrailingZeros64(word)] += int32(p.Weight)
			}
		}
	}
}

// ratePodAffinity adds up the wishes of the pod and of those that are there already.
func (x *index) ratePodAffinity(q *query, fits, scores []int32) bool {
	clear(scores[:len(fits)])
	s, said := &q.pod.Scheduling, false
	wish := func(list []api.WeightedPodAffinityTerm, sign int32) {
		for _, t := range list {
			counted := x.term(podSet{Parts: []podPart{partOf(t.PodAffinityTerm, q.pod.Namespace)}})
			if counted.total > 0 {
				said = true
				x.addNear(t.PodAffinityTerm.TopologyKey, counted.counts, counted.where, sign*int32(t.Weight), fits, scores)
			}
		}
	}
	if s.PodAffinity != nil {
		wish(s.PodAffinity.Preferred, 1)
	}
	if s.PodAntiAffinity != nil {
		wish(s.PodAntiAffinity.Preferred, -1)
	}
	for o := range x.ownedOf.about(q.pod.Labels) {
		if o.part.selects(x, q.pod) {
			said = true
			x.addNear(o.topology, o.weight, o.where, 1, fits, scores)
		}
	}
	return said && more(scores[:len(fits)])
}

func (x *index) addNear(topology string, counts []int32, where bitset, weight int32, fits, scores []int32) {
	c := x.column(topology)
	sums := c.sum(counts, where)
	for i, slot := range fits {
		scores[i] += weight * sums[c.values[slot]]
	}
}

// rateSpread prefers values that hold fewer pods, by the constraints that do not
// forbid; a node without the label comes last.
func (x *index) rateSpread(q *query, fits, scores []int32) bool {
	return x.sumSpread(q, fits, scores) && more(scores[:len(fits)])
}

func (x *index) sumSpread(q *query, fits, scores []int32) bool {
	clear(scores[:len(fits)])
	said := false
	for i := range q.pod.Scheduling.TopologySpreadConstraints {
		s := &q.pod.Scheduling.TopologySpreadConstraints[i]
		if actionOf(s) != api.ScheduleAnyway {
			continue
		}
		c := x.column(s.TopologyKey)
		sums, _, _ := c.spread(x.term(spreadSet(s, q.pod.Namespace)).counts, x.places(q, api.ScheduleAnyway))
		worst := int32(0)
		for _, n := range sums {
			worst = max(worst, n)
		}
		for i, slot := range fits {
			if n := sums[c.values[slot]]; n >= 0 {
				scores[i] -= n
			} else {
				scores[i] -= worst + 1
			}
		}
		said = true
	}
	return said
}

// rateBundle prefers nodes that have had the pack, and so still have its bundle, as
// long as a pod of it is remembered.
func (x *index) rateBundle(q *query, fits, scores []int32) bool {
	had := x.bundles[q.pod.PackID]
	if had == nil {
		return false
	}
	some := false
	for i, slot := range fits {
		scores[i] = 0
		if had.nodes.has(slot) {
			scores[i], some = MaxScore, true
		}
	}
	return some
}
