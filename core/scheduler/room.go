package scheduler

import (
	"math/bits"
	"slices"
)

// block is what is known of the room of wordBits nodes at once: who asks for no more
// than the least that one of them has free fits on each of them.
type block struct {
	least amounts
	pods  int64
	stale bool // a node has got room, come or gone: least may be too little
}

// took lowers what the least free amounts of a slot's block are.
func (x *index) took(slot int32) {
	b := &x.blocks[slot/wordBits]
	b.least.cpu = min(b.least.cpu, x.cpu[slot])
	b.least.memory = min(b.least.memory, x.memory[slot])
	b.least.storage = min(b.least.storage, x.storage[slot])
	b.pods = min(b.pods, x.room[slot])
}

// gave has the block of a slot measured before it is asked again.
func (x *index) gave(slot int32) { x.blocks[slot/wordBits].stale = true }

// takesAll reports whether every node of a word of the set of nodes has room for the
// pod. Nodes that none asks about do not matter, and may make it false.
func (x *index) takesAll(q *query, w int) bool {
	b := &x.blocks[w]
	if b.stale {
		x.measure(b, w)
	}
	a := &q.asked
	return (a.cpu <= b.least.cpu || a.cpu <= 0) && (a.memory <= b.least.memory || a.memory <= 0) &&
		(a.storage <= b.least.storage || a.storage <= 0) && b.pods >= 1
}

func (x *index) measure(b *block, w int) {
	const most = int64(^uint64(0) >> 1)
	*b = block{least: amounts{cpu: most, memory: most, storage: most}, pods: most}
	for left := x.alive[w]; left != 0; left &= left - 1 {
		x.took(int32(w*wordBits + bits.TrailingZeros64(left)))
	}
}

// maxTallied bounds the numbers of pods that nodes are told apart by.
const maxTallied = 256

// tally has the nodes by how many pods hold room on them; the last set is of all that
// have more than there are sets for.
type tally struct {
	nodes []bitset // by number of pods
	sizes []int
}

func (t *tally) of(pods int32) int { return int(min(max(pods, 0), maxTallied)) }

// widen makes room for the slots of one more word.
func (t *tally) widen() {
	for i := range t.nodes {
		t.nodes[i] = append(t.nodes[i], 0)
	}
}

func (t *tally) put(slot int32, pods int32, words int) {
	at := t.of(pods)
	for len(t.nodes) <= at {
		t.nodes, t.sizes = append(t.nodes, make(bitset, words)), append(t.sizes, 0)
	}
	t.nodes[at].set(slot)
	t.sizes[at]++
}

func (t *tally) move(slot int32, from, to int32, words int) {
	if t.of(from) == t.of(to) {
		return
	}
	t.nodes[t.of(from)].unset(slot)
	t.sizes[t.of(from)]--
	t.put(slot, to, words)
}

// among gives the bounds of the numbers of pods on the nodes of fits, and whether
// every number is told apart.
func (t *tally) among(fits bitset) (low, high int32, exact bool) {
	low, high = -1, -1
	for i := range t.nodes {
		if t.sizes[i] > 0 && t.nodes[i].meets(fits) {
			low = int32(i)
			break
		}
	}
	for i, nodes := range slices.Backward(t.nodes) {
		if t.sizes[i] > 0 && nodes.meets(fits) {
			high = int32(i)
			break
		}
	}
	return low, high, high < maxTallied
}
