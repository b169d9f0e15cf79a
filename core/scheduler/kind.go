package scheduler

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/stark-orchestrator/stark/shared/api"
)

const (
	// maxKinds bounds the kinds that are kept; the one that was asked for longest ago
	// gives way.
	maxKinds = 32
	// maxLevels bounds the levels that nodes are told apart by.
	maxLevels = 8
)

// kind is what pods have in common that ask the same of a node itself, and what the
// nodes answer: nothing of it depends on the pods that are on them. Pods of a crowd are
// of few kinds, and nodes change seldom, so most pods find their answer here.
type kind struct {
	key     string
	version uint64 // of the nodes that answered
	asked   uint64 // when it was last asked for, in plans

	nodes    bitset // those that pass the filters that look at what a node is
	dislikes tastes // PreferNoSchedule taints that the pod does not tolerate
	wishes   tastes // weight of the preferred node affinity that is met
	spread   bitset // nodes that count for spread constraints that forbid
	domains  []int  // how many values those have, by constraint
}

// tastes is a number for each node, the nodes with equal ones together.
type tastes struct {
	values []int32 // by slot
	levels []level // from the lowest number up
	many   bool    // there are more numbers than levels
}

type level struct {
	value int32
	nodes bitset
}

// kindOf gives the kind of a pod, whose nodes answer anew where they have changed.
func (x *index) kindOf(q *query) *kind {
	x.scratch.key = x.scratch.key[:0].kind(q)
	x.scratch.plans++
	k := x.kinds[string(x.scratch.key)]
	if k == nil {
		k = x.newKind(string(x.scratch.key))
	}
	k.asked = x.scratch.plans
	if k.version != x.version {
		x.fill(k, q)
	}
	return k
}

// newKind takes the memory of a kind that nobody asks for any more.
func (x *index) newKind(key string) *kind {
	k := &kind{}
	if len(x.kinds) >= maxKinds {
		k = nil
		for _, old := range x.kinds {
			if k == nil || old.asked < k.asked {
				k = old
			}
		}
		delete(x.kinds, k.key)
	}
	k.key, k.version = key, 0
	x.kinds[key] = k
	return k
}

// fill asks every node.
func (x *index) fill(k *kind, q *query) {
	k.version = x.version
	k.nodes = append(k.nodes[:0], x.byKind(q)...)
	dislikes := k.dislikes.blank(len(x.nodes))
	for slot := range x.nodes {
		if x.nodes[slot].node != nil {
			dislikes[slot] = x.classes[x.class[slot]].dislike
		}
	}
	k.dislikes.part(k.nodes)
	wishes := k.wishes.blank(len(x.nodes))
	x.wish(q, wishes)
	k.wishes.part(k.nodes)
	x.fillSpread(k, q)
}

// fillSpread looks for the nodes and the values that hard spread constraints count.
func (x *index) fillSpread(k *kind, q *query) {
	k.domains = k.domains[:0]
	constraints := q.pod.Scheduling.TopologySpreadConstraints
	if len(constraints) == 0 {
		return
	}
	k.spread = append(k.spread[:0], x.places(q, api.DoNotSchedule)...)
	for i := range constraints {
		domains := 0
		if actionOf(&constraints[i]) == api.DoNotSchedule {
			domains = len(x.column(constraints[i].TopologyKey).gather(x.count, k.spread))
		}
		k.domains = append(k.domains, domains)
	}
}

func (t *tastes) blank(n int) []int32 {
	t.values = append(t.values[:0], make([]int32, n)...)
	return t.values
}

// part puts the slots of fits into levels.
func (t *tastes) part(fits bitset) {
	t.levels, t.many = nil, false
	for w, word := range fits {
		for ; word != 0; word &= word - 1 {
			slot := int32(w*wordBits + bits.TrailingZeros64(word))
			at, known := slices.BinarySearchFunc(t.levels, t.values[slot], func(l level, v int32) int { return cmp.Compare(l.value, v) })
			if !known {
				if t.many = len(t.levels) == maxLevels; t.many {
					return
				}
				t.levels = slices.Insert(t.levels, at, level{value: t.values[slot], nodes: make(bitset, len(fits))})
			}
			t.levels[at].nodes.set(slot)
		}
	}
}

// among gives the lowest and the highest number that a node of fits has.
func (t *tastes) among(fits bitset) (low, high int32) {
	if t.many {
		return boundsOf(t.values, fits)
	}
	first := true
	for i := range t.levels {
		if l := &t.levels[i]; l.nodes.meets(fits) {
			if high = l.value; first {
				low, first = high, false
			}
		}
	}
	return low, high
}

// boundsOf gives the lowest and the highest of the values of some slots.
func boundsOf(values []int32, of bitset) (low, high int32) {
	low, high = math.MaxInt32, math.MinInt32
	for w, word := range of {
		for ; word != 0; word &= word - 1 {
			v := values[w*wordBits+bits.TrailingZeros64(word)]
			low, high = min(low, v), max(high, v)
		}
	}
	return low, high
}
