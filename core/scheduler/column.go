package scheduler

import (
	"math/bits"
	"strconv"

	"github.com/stark-orchestrator/stark/shared/api"
)

// maxColumns bounds the label keys that are indexed at a time. Columns are made
// when a pod first asks about a key: keys that nobody asks about cost nothing,
// however many a node carries.
const maxColumns = 256

// nameColumn is the column of names; no label has such a key.
const nameColumn = "\x00name"

// absent is the value of nodes without the label.
const absent = 0

// column holds one label of every node as numbers: equal values, equal numbers.
type column struct {
	key    string
	values []int32 // by slot
	ids    map[string]int32
	names  []string // by number; names[absent] means nothing
	numbers
	accept []bool // scratch, by number
	count  []int32
	groups groups
	sums   sums
}

// numbers are the values that are integers, for Gt and Lt.
type numbers struct {
	parsed []int64
	whole  []bool
}

// column gives the column of a label, made anew where there is none.
func (x *index) column(key string) *column {
	if c := x.columns[key]; c != nil {
		return c
	}
	if len(x.columns) >= maxColumns {
		clear(x.columns)
	}
	c := &column{key: key, values: make([]int32, len(x.nodes)), ids: map[string]int32{}}
	c.intern("")
	delete(c.ids, "")
	for slot := range x.nodes {
		if n := x.nodes[slot].node; n != nil {
			c.put(int32(slot), n)
		}
	}
	x.columns[key] = c
	return c
}

func (c *column) put(slot int32, n *api.Node) {
	value, ok := n.Labels[c.key]
	if c.key == nameColumn {
		value, ok = n.Name, true
	}
	c.values[slot] = absent
	if ok {
		c.values[slot] = c.intern(value)
	}
	c.groups.known = false
}

func (c *column) intern(value string) int32 {
	if id, ok := c.ids[value]; ok {
		return id
	}
	id := int32(len(c.names))
	c.ids[value] = id
	c.names = append(c.names, value)
	n, err := strconv.ParseInt(value, 10, 64)
	c.parsed, c.whole = append(c.parsed, n), append(c.whole, err == nil)
	c.accept, c.count = append(c.accept, false), append(c.count, 0)
	return id
}

// worn reports that most of the values are no node's any more.
func (c *column) worn() bool { return len(c.names) > 2*len(c.values)+1024 }

// require leaves in mask the nodes that meet r, by the rules of api.Requirement.Matches.
func (c *column) require(r api.Requirement, mask bitset) {
	c.decide(r)
	for w, word := range mask {
		for left := word; left != 0; left &= left - 1 {
			bit := bits.TrailingZeros64(left)
			if !c.accept[c.values[w*wordBits+bit]] {
				word &^= 1 << bit
			}
		}
		mask[w] = word
	}
}

// decide fills accept.
func (c *column) decide(r api.Requirement) {
	given := false // what accept says of values that r names
	others := false
	switch r.Operator {
	case api.OpIn:
		given = true
	case api.OpNotIn:
		others = true
	case api.OpExists:
		others = true
	case api.OpGt, api.OpLt:
		c.compare(r)
		return
	default: // DoesNotExist accepts no value
	}
	for i := range c.accept {
		c.accept[i] = others
	}
	c.accept[absent] = r.Operator == api.OpNotIn || r.Operator == api.OpDoesNotExist
	if r.Operator == api.OpIn || r.Operator == api.OpNotIn {
		for _, v := range r.Values {
			if id, ok := c.ids[v]; ok {
				c.accept[id] = given
			}
		}
	}
}

func (c *column) compare(r api.Requirement) {
	clear(c.accept)
	if len(r.Values) != 1 {
		return
	}
	want, err := strconv.ParseInt(r.Values[0], 10, 64)
	if err != nil {
		return
	}
	for i, n := range c.parsed {
		if i != absent && c.whole[i] {
			c.accept[i] = r.Operator == api.OpGt && n > want || r.Operator == api.OpLt && n < want
		}
	}
}

// present leaves in mask the nodes that have the label.
func (c *column) present(mask bitset) {
	for w, word := range mask {
		for left := word; left != 0; left &= left - 1 {
			bit := bits.TrailingZeros64(left)
			if c.values[w*wordBits+bit] == absent {
				word &^= 1 << bit
			}
		}
		mask[w] = word
	}
}

// sum adds up counts by value of the label, over the nodes of within; the sum of
// nodes without the label stays 0. The result is good until the next call.
func (c *column) sum(counts []int32, within bitset) []int32 {
	clear(c.count)
	for w, word := range within {
		for ; word != 0; word &= word - 1 {
			slot := w*wordBits + bits.TrailingZeros64(word)
			c.count[c.values[slot]] += counts[slot]
		}
	}
	c.count[absent] = 0
	return c.count
}

// spread is sum that also tells the least sum of a value that within has, and how
// many values it has. The sum of a value that it does not have is -1.
func (c *column) spread(counts []int32, within bitset) (sums []int32, least int32, domains int) {
	for i := range c.count {
		c.count[i] = -1
	}
	for w, word := range within {
		for ; word != 0; word &= word - 1 {
			slot := w*wordBits + bits.TrailingZeros64(word)
			v := c.values[slot]
			c.count[v] = max(c.count[v], 0) + counts[slot]
		}
	}
	c.count[absent] = -1
	for _, n := range c.count {
		if n < 0 {
			continue
		}
		if domains == 0 || n < least {
			least = n
		}
		domains++
	}
	return c.count, least, domains
}
