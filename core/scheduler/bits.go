package scheduler

import "math/bits"

// bitset holds one bit per slot of a node. Those that are combined have the same length.
type bitset []uint64

const wordBits = 64

func words(n int) int { return (n + wordBits - 1) / wordBits }

func (b bitset) set(i int32)      { b[i/wordBits] |= 1 << (i % wordBits) }
func (b bitset) unset(i int32)    { b[i/wordBits] &^= 1 << (i % wordBits) }
func (b bitset) has(i int32) bool { return b[i/wordBits]&(1<<(i%wordBits)) != 0 }

// put sets the bit or clears it.
func (b bitset) put(i int32, on bool) {
	if on {
		b.set(i)
	} else {
		b.unset(i)
	}
}

func (b bitset) or(other bitset) {
	for i, w := range other {
		b[i] |= w
	}
}

// slots appends the slots whose bits are set, in order.
func (b bitset) slots(to []int32) []int32 {
	for i, w := range b {
		for ; w != 0; w &= w - 1 {
			to = append(to, int32(i*wordBits+bits.TrailingZeros64(w)))
		}
	}
	return to
}

// meets reports whether the two have a slot in common.
func (b bitset) meets(other bitset) bool {
	for i, w := range other {
		if b[i]&w != 0 {
			return true
		}
	}
	return false
}

func (b bitset) and(other bitset) {
	for i, w := range other {
		b[i] &= w
	}
}

func (b bitset) empty() bool {
	for _, w := range b {
		if w != 0 {
			return false
		}
	}
	return true
}
