package scheduler

import (
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

const (
	firstBackOff   = 10 * time.Second
	longestBackOff = 5 * time.Minute
	staleBackOff   = time.Second
	// manyPlaces is how many places may have changed before it is cheaper to plan
	// everything than to ask which pod each of them helps.
	manyPlaces = 32
)

// parking is a pod that waits for an event that could help it, or for its back-off.
type parking struct {
	pod     *api.Pod
	refuse  []uint32 // by filter, the nodes that it refused; nil for a stale decision
	backOff time.Duration
	until   time.Time
}

// park keeps a pod from being planned until something helps it.
func (l *loop) park(d *Decision, now time.Time) {
	at := &parking{pod: d.seen, refuse: d.refuse, backOff: firstBackOff}
	if old := l.parked[d.PodID]; old != nil && sameWish(old.pod, d.seen) {
		at.backOff = min(2*old.backOff, longestBackOff)
	}
	at.until = now.Add(at.backOff)
	l.parked[d.PodID] = at
}

func (l *loop) parkStale(d *Decision) {
	l.parked[d.PodID] = &parking{pod: d.seen, backOff: staleBackOff, until: time.Now().Add(staleBackOff)}
}

// news is what has happened since the last pass that may help parked pods.
type news struct {
	all    bool
	places map[int32]struct{} // nodes that came, changed, or have more room
	told   bool               // of some place, by the read model
	left   bool               // a pod holds no room any more
	came   bool               // a pod holds room that did not
}

func (n *news) node(slot int32) {
	if n.places == nil {
		n.places = map[int32]struct{}{}
	}
	n.places[slot] = struct{}{}
	n.told = true
}

// leaves notes the place that a pod may have given back.
func (n *news) leaves(e *entry) {
	if e != nil && e.slot != noSlot && holding(e.pod) {
		n.node(e.slot)
		n.left = true
	}
}

// undone notes the place of a decision that came too late. That is nothing new for others
// that did: they would be decided as before, and undo each other for ever.
func (n *news) undone(e *entry) {
	told := n.told
	n.leaves(e)
	n.told = told
}

func (n *news) comes(e *entry) { n.came = n.came || holding(e.pod) }

// helps reports whether what happened may help a parked pod.
func (n *news) helps(x *index, at *parking) bool {
	switch {
	case n.all:
		return true
	case at.refuse == nil:
		return n.told
	case len(n.places) > manyPlaces:
		return true
	}
	around := func(fs ...filterID) bool {
		for _, f := range fs {
			if at.refuse != nil && at.refuse[f] > 0 {
				return true
			}
		}
		return false
	}
	if n.left && around(filterAntiAffinity, filterSymmetry, filterSpread) || n.came && around(filterPodAffinity, filterSpread) {
		return true
	}
	for slot := range n.places {
		if x.couldTake(at.pod, slot) {
			return true
		}
	}
	return false
}

// couldTake reports whether one node takes a pod, as far as the node itself can say.
func (x *index) couldTake(p *api.Pod, slot int32) bool {
	if int(slot) >= len(x.nodes) || x.nodes[slot].node == nil {
		return false
	}
	x.reserve()
	q := x.queryFor(p)
	c := &x.classes[x.class[slot]]
	if refusalByKind(q, c) != noFilter || p.Scheduling.NodeName != "" && x.names[p.Scheduling.NodeName] != slot {
		return false
	}
	released := x.release(p)
	defer x.hold(released)
	if x.short(q, int(slot)) != noFilter && (!x.mayPreempt(p) || !x.fitsEmpty(q, slot)) {
		return false
	}
	mask := x.scratch.mask
	clear(mask)
	mask.set(slot)
	x.bySelector(q, mask)
	return mask.has(slot)
}

// wake makes parked pods active that something helps, or whose back-off is over.
func (l *loop) wake(now time.Time) {
	quiet := !l.news.all && len(l.news.places) == 0 && !l.news.came && !l.news.left
	for id, at := range l.parked {
		if now.Before(at.until) && (quiet || !l.news.helps(l.x, at)) {
			continue
		}
		l.active[id] = struct{}{}
	}
	l.news = news{}
}
