package scheduler

// scan is pick without anything that is kept: every filter and every scorer looks at
// every node.
func (x *index) scan(q *query) (fits []int32, slot, total int32, w weigher) {
	mask := x.byKind(q)
	keep(mask, func(slot int) bool { return x.short(q, slot) == noFilter })
	x.byPods(q, mask)
	fits = mask.slots(nil)
	if len(fits) == 0 {
		return nil, noSlot, 0, weigher{}
	}
	w = x.rate(q, fits)
	ranks, totals := x.rank(), x.scratch.totals
	top := 0
	for i := range fits {
		load, least := x.load(q, fits[i]), x.load(q, fits[top])
		if totals[i] > totals[top] || totals[i] == totals[top] && (load < least || load == least && ranks[fits[i]] < ranks[fits[top]]) {
			top = i
		}
	}
	return fits, fits[top], totals[top], w
}
