package scheduler

import (
	"math/bits"

	"github.com/stark-orchestrator/stark/shared/api"
)

// pick finds the node that filter and rate would have choose take, and its scores,
// without a look at every node: what nodes are is known by kind, whether they have room
// by block, and nodes of equal scores are told from the others as one set. It gives
// noSlot where no node fits.
func (x *index) pick(q *query) (best, weigher) {
	k := x.kindOf(q)
	fits := x.fitsOf(q, k)
	if fits.empty() {
		return best{slot: noSlot}, weigher{}
	}
	r := x.raterOf(q, k, fits)
	b := best{slot: noSlot}
	if r.spreads && !k.dislikes.many && !k.wishes.many && !r.dense {
		x.pickLevels(&r, &b)
	} else {
		x.pickEach(&r, &b, fits)
	}
	x.scratch.near.reset()
	return b, r.weights
}

// fitsOf gives the nodes that filter gives.
func (x *index) fitsOf(q *query, k *kind) bitset {
	x.reserve()
	mask := x.scratch.mask
	copy(mask, k.nodes)
	x.byRoom(q, mask)
	x.byAffinity(q, mask)
	x.byAntiAffinity(q, mask)
	x.bySymmetry(q, mask)
	constraints := q.pod.Scheduling.TopologySpreadConstraints
	if len(constraints) > 0 {
		mask.and(k.spread)
	}
	for i := range constraints {
		if s := &constraints[i]; actionOf(s) == api.DoNotSchedule {
			x.level(q, s, k, k.domains[i], mask)
		}
	}
	return mask
}

// level leaves the nodes whose value of the label may hold one more pod.
func (x *index) level(q *query, s *api.TopologySpreadConstraint, k *kind, domains int, mask bitset) {
	set, c := spreadSet(s, q.pod.Namespace), x.column(s.TopologyKey)
	counted := x.term(set)
	copy(x.scratch.other, counted.where)
	x.scratch.other.and(k.spread)
	with := c.gather(counted.counts, x.scratch.other)
	least := int32(0)
	if len(with) == domains && len(with) > 0 && (s.MinDomains == nil || domains >= *s.MinDomains) {
		least = c.sums.of[with[0]]
		for _, v := range with {
			least = min(least, c.sums.of[v])
		}
	}
	most := least + int32(s.MaxSkew)
	if set.selects(x, q.pod) {
		most--
	}
	if most < 0 {
		clear(mask) // not even a value without pods may hold one
	}
	for _, v := range with {
		if c.sums.of[v] > most {
			for _, slot := range c.sharing(v) {
				mask.unset(slot)
			}
		}
	}
}

// best is the best node so far.
type best struct {
	slot   int32
	total  int32
	load   float64 // below zero where nobody has asked
	scores [scorerCount]int32
}

// offer compares a node of a total that is no less than the best one's. Among equals
// the one with more room left wins, then the first by name.
func (x *index) offer(r *rater, b *best, slot, total int32) {
	if b.slot == noSlot || total > b.total {
		b.slot, b.total, b.load = slot, total, -1
		return
	}
	if b.load < 0 {
		b.load = x.load(r.q, b.slot)
	}
	load := x.load(r.q, slot)
	if load < b.load || load == b.load && r.ranks[slot] < r.ranks[b.slot] {
		b.slot, b.load = slot, load
	}
}

// pickEach rates one node after the other.
func (x *index) pickEach(r *rater, b *best, fits bitset) {
	for w, word := range fits {
		for ; word != 0; word &= word - 1 {
			x.offerOne(r, b, int32(w*wordBits+bits.TrailingZeros64(word)))
		}
	}
	b.scores = x.scoresOf(r, b.slot)
}

func (x *index) offerOne(r *rater, b *best, slot int32) {
	scores := x.scoresOf(r, slot)
	if total := r.total(&scores); b.slot == noSlot || total >= b.total {
		x.offer(r, b, slot, total)
	}
}

// pickLevels looks at nodes by how many pods they have, the emptiest first, and leaves
// alone the sets of nodes whose total is too low. Those that pods nearby draw or drive
// away are rated one by one.
func (x *index) pickLevels(r *rater, b *best) {
	near := &x.scratch.near
	alone := x.scratch.other
	for i, w := range r.fits {
		alone[i] = w &^ near.slots[i]
	}
	for pods := r.count.low; pods <= r.count.high; pods++ {
		if x.tally.sizes[pods] > 0 && (b.slot == noSlot || r.atBest(pods) >= b.total) {
			x.pickLevel(r, b, alone, pods)
		}
	}
	for w, word := range r.fits {
		for word &= near.slots[w]; word != 0; word &= word - 1 {
			slot := int32(w*wordBits + bits.TrailingZeros64(word))
			if b.slot == noSlot || r.atBest(x.count[slot]) >= b.total {
				x.offerOne(r, b, slot)
			}
		}
	}
	b.scores = x.scoresOf(r, b.slot)
}

// pickLevel looks at the nodes with as many pods that no pod nearby has a word about.
func (x *index) pickLevel(r *rater, b *best, alone bitset, pods int32) {
	var scores [scorerCount]int32
	scores[scorePolicy] = r.count.fewer(pods)
	scores[scorePodAffinity] = r.near.more(0)
	for d := range r.kind.dislikes.levels {
		disliked := &r.kind.dislikes.levels[d]
		scores[scoreTaints] = r.dislikes.fewer(disliked.value)
		for i := range r.kind.wishes.levels {
			wished := &r.kind.wishes.levels[len(r.kind.wishes.levels)-1-i]
			scores[scoreNodeAffinity] = r.wishes.more(wished.value)
			at := [...]bitset{alone, x.tally.nodes[pods], disliked.nodes, wished.nodes}
			if r.had != nil {
				scores[scoreBundle] = MaxScore
				x.offerSet(r, b, r.total(&scores), &at, 0)
			}
			scores[scoreBundle] = 0
			x.offerSet(r, b, r.total(&scores), &at, ^uint64(0))
		}
	}
}

// offerSet offers the nodes that are in all sets of at, and have had the bundle or, with
// without, have not.
func (x *index) offerSet(r *rater, b *best, total int32, at *[4]bitset, without uint64) {
	if b.slot != noSlot && total < b.total {
		return
	}
	for w := range at[0] {
		word := at[0][w] & at[1][w] & at[2][w] & at[3][w]
		if word != 0 && r.had != nil {
			word &= r.had[w] ^ without
		}
		for ; word != 0; word &= word - 1 {
			x.offer(r, b, int32(w*wordBits+bits.TrailingZeros64(word)), total)
		}
	}
}
