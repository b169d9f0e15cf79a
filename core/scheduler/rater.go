package scheduler

import "github.com/stark-orchestrator/stark/shared/api"

// rater knows what the scores of a pod's nodes are, from their bounds.
type rater struct {
	q       *query
	kind    *kind
	fits    bitset
	ranks   []int32
	weights weigher
	ceiling int32 // what all scorers but the policy can give together
	spreads bool  // the policy counts pods
	dense   bool  // something is to be said about every node
	seed    uint64

	count, dislikes, wishes, near, even span
	had                                 bitset // nodes that have had the bundle; nil where that tells nothing
}

// span is the bounds of what a scorer reads, as fewer and more of a list of them do.
type span struct {
	low, high int32
	scale     float64
}

func spanOf(low, high int32) span {
	s := span{low: low, high: high}
	if low != high {
		s.scale = scaleOf(low, high)
	}
	return s
}

func (s span) fewer(v int32) int32 {
	if s.low == s.high {
		return MaxScore
	}
	return int32(float64(s.high-v) * s.scale)
}

func (s span) more(v int32) int32 { return int32(float64(v-s.low) * s.scale) }

// raterOf finds the bounds that rate finds, and which scorers tell nodes apart.
func (x *index) raterOf(q *query, k *kind, fits bitset) rater {
	r := rater{q: q, kind: k, fits: fits, ranks: x.rank(), weights: x.weigher()}
	switch x.config.SchedulingPolicy {
	case api.PolicyBinpack, api.PolicyLeastLoaded:
	case api.PolicyRandom:
		r.seed = hashOf(q.pod.ID)
	default:
		low, high, exact := x.tally.among(fits)
		if r.spreads = exact; !exact {
			low, high = boundsOf(x.count, fits)
		}
		r.count = spanOf(low, high)
	}
	r.dislikes = spanOf(k.dislikes.among(fits))
	if r.wishes = spanOf(k.wishes.among(fits)); r.wishes.low == r.wishes.high {
		r.weights[scoreNodeAffinity] = 0
	}
	if !x.rateNear(&r) {
		r.weights[scorePodAffinity] = 0
		x.scratch.near.reset()
	}
	if !x.rateEven(&r) {
		r.weights[scoreSpread] = 0
	}
	if had := x.bundles[q.pod.PackID]; had != nil && had.nodes.meets(fits) {
		r.had = had.nodes
	} else {
		r.weights[scoreBundle] = 0
	}
	for k, weight := range r.weights {
		if k != scorePolicy {
			r.ceiling += max(weight, 0) * MaxScore
		}
	}
	return r
}

func (r *rater) total(scores *[scorerCount]int32) int32 {
	sum := int32(0)
	for k, weight := range r.weights {
		sum += weight * scores[k]
	}
	return sum
}

// atBest is what no node with as many pods can be above.
func (r *rater) atBest(pods int32) int32 {
	return r.weights[scorePolicy]*r.count.fewer(pods) + r.ceiling
}

// scoresOf gives the scores of one node, 0 of those that have nothing to say.
func (x *index) scoresOf(r *rater, slot int32) [scorerCount]int32 {
	var s [scorerCount]int32
	switch x.config.SchedulingPolicy {
	case api.PolicyBinpack:
		s[scorePolicy] = int32(x.load(r.q, slot) * MaxScore)
	case api.PolicyLeastLoaded:
		s[scorePolicy] = MaxScore - int32(x.load(r.q, slot)*MaxScore)
	case api.PolicyRandom:
		s[scorePolicy] = int32(mix(r.seed^x.nodes[slot].hash) % (MaxScore + 1))
	default:
		s[scorePolicy] = r.count.fewer(x.count[slot])
	}
	s[scoreTaints] = r.dislikes.fewer(r.kind.dislikes.values[slot])
	s[scoreNodeAffinity] = r.wishes.more(r.kind.wishes.values[slot])
	s[scorePodAffinity] = r.near.more(x.scratch.near.weights[slot])
	if r.weights[scoreSpread] != 0 {
		s[scoreSpread] = r.even.more(x.scratch.scores[scoreSpread][slot])
	}
	if r.had != nil && r.had.has(slot) {
		s[scoreBundle] = MaxScore
	}
	return s
}

// nearness is what pods on nodes draw others to nodes nearby, or drive them away.
type nearness struct {
	weights []int32 // by slot; 0 for those that are not of slots
	slots   bitset
}

func (n *nearness) add(slot, weight int32) {
	n.slots.set(slot)
	n.weights[slot] += weight
}

func (n *nearness) reset() {
	for w, word := range n.slots {
		if word != 0 {
			clear(n.weights[w*wordBits : min((w+1)*wordBits, len(n.weights))])
			n.slots[w] = 0
		}
	}
}

// rateNear is ratePodAffinity for a rater.
func (x *index) rateNear(r *rater) bool {
	n, s, said := &x.scratch.near, &r.q.pod.Scheduling, false
	wish := func(list []api.WeightedPodAffinityTerm, sign int32) {
		for i := range list {
			t := &list[i]
			counted := x.term(podSet{Parts: []podPart{partOf(t.PodAffinityTerm, r.q.pod.Namespace)}})
			if counted.total > 0 {
				said = true
				x.draws(n, t.PodAffinityTerm.TopologyKey, counted.counts, counted.where, sign*int32(t.Weight))
			}
		}
	}
	if s.PodAffinity != nil {
		wish(s.PodAffinity.Preferred, 1)
	}
	if s.PodAntiAffinity != nil {
		wish(s.PodAntiAffinity.Preferred, -1)
	}
	for o := range x.ownedOf.about(r.q.pod.Labels) {
		if o.part.selects(x, r.q.pod) {
			said = true
			x.draws(n, o.topology, o.weight, o.where, 1)
		}
	}
	if !said {
		return false
	}
	low, high, others := int32(0), int32(0), false
	for w, word := range r.fits {
		others = others || word&^n.slots[w] != 0
	}
	near := x.scratch.other
	copy(near, r.fits)
	near.and(n.slots)
	if !near.empty() {
		if low, high = boundsOf(n.weights, near); others {
			low, high = min(low, 0), max(high, 0)
		}
	}
	r.near = spanOf(low, high)
	return low != high
}

// draws adds to the nodes that share a value of the label with those of where.
func (x *index) draws(n *nearness, topology string, counts []int32, where bitset, weight int32) {
	c := x.column(topology)
	for _, v := range c.gather(counts, where) {
		for _, slot := range c.sharing(v) {
			n.add(slot, weight*c.sums.of[v])
		}
	}
}

// rateEven is rateSpread for a rater.
func (x *index) rateEven(r *rater) bool {
	soft := false
	for i := range r.q.pod.Scheduling.TopologySpreadConstraints {
		soft = soft || actionOf(&r.q.pod.Scheduling.TopologySpreadConstraints[i]) == api.ScheduleAnyway
	}
	if !soft {
		return false
	}
	fits := r.fits.slots(x.scratch.fits[:0])
	scores := x.scratch.totals[:len(fits)]
	if !x.sumSpread(r.q, fits, scores) {
		return false
	}
	low, high := bounds(scores)
	for i, slot := range fits {
		x.scratch.scores[scoreSpread][slot] = scores[i]
	}
	r.even, r.dense = spanOf(low, high), true
	return low != high
}
