package scheduler

import "math/bits"

// groups are the slots of a column by value, made when they are first asked for after
// a change of the nodes.
type groups struct {
	known bool
	slots []int32 // of one value after the other
	start []int32 // by value, where in slots its own begin
}

// sharing gives the slots with a value of the label, to be read only. Slots without a
// node may be among them.
func (c *column) sharing(value int32) []int32 {
	g := &c.groups
	if !g.known {
		c.group()
	}
	if int(value)+1 >= len(g.start) {
		return nil // no slot had it when they were grouped, and none has got it since
	}
	return g.slots[g.start[value]:g.start[value+1]]
}

func (c *column) group() {
	g, n := &c.groups, len(c.names)
	g.known = true
	g.start = append(g.start[:0], make([]int32, n+2)...)
	for _, v := range c.values {
		g.start[v+2]++
	}
	for v := range n {
		g.start[v+2] += g.start[v+1]
	}
	if cap(g.slots) < len(c.values) {
		g.slots = make([]int32, len(c.values))
	}
	g.slots = g.slots[:len(c.values)]
	for slot, v := range c.values { // start[v+1] goes from the begin of v to its end
		g.slots[g.start[v+1]] = int32(slot)
		g.start[v+1]++
	}
}

// sums are what pods add up to by value of a label, for the values that have any.
type sums struct {
	of   []int32 // by value; good for those of values alone
	seen []uint32
	turn uint32
	with []int32
}

// gather adds up counts by value of the label, over the slots of where, without those
// that lack the label. It gives the values that were there; c.sums.of has their sums
// until the next call.
func (c *column) gather(counts []int32, where bitset) []int32 {
	s := &c.sums
	if more := len(c.names) - len(s.of); more > 0 {
		s.of, s.seen = append(s.of, make([]int32, more)...), append(s.seen, make([]uint32, more)...)
	}
	if s.turn++; s.turn == 0 { // once in 4 billion
		clear(s.seen)
		s.turn = 1
	}
	s.with = s.with[:0]
	for w, word := range where {
		for ; word != 0; word &= word - 1 {
			slot := w*wordBits + bits.TrailingZeros64(word)
			v := c.values[slot]
			if v == absent {
				continue
			}
			if s.seen[v] != s.turn {
				s.seen[v], s.of[v] = s.turn, 0
				s.with = append(s.with, v)
			}
			s.of[v] += counts[slot]
		}
	}
	return s.with
}
