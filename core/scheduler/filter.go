package scheduler

import (
	"math/bits"

	"github.com/stark-orchestrator/stark/shared/api"
)

// filterID names a filter; they work in this order.
type filterID uint8

// The filters. Those before filterCPU look at what a node is, and no event but a
// change of the node helps a pod past them. The others look at what is on it.
const (
	filterRuntime filterID = iota
	filterRuntimeVersion
	filterCapabilities
	filterNodeAccess
	filterNodeName
	filterNodeReady
	filterUnschedulable
	filterTaints
	filterNodeSelector
	filterNodeAffinity
	filterCPU
	filterMemory
	filterStorage
	filterPods
	filterPodAffinity
	filterAntiAffinity
	filterSymmetry
	filterSpreadLabel
	filterSpread
	noFilter
)

// filters has the name of each filter, and what it says after a number of nodes.
var filters = [noFilter]struct{ name, message string }{
	filterRuntime:        {"Runtime", "node(s) had another runtime than the pack needs"},
	filterRuntimeVersion: {"RuntimeVersion", "node(s) had an older runtime than the pack needs"},
	filterCapabilities:   {"Capabilities", "node(s) lacked a capability that the pack needs"},
	filterNodeAccess:     {"NodeAccess", "node(s) did not serve the pod's owner or namespace"},
	filterNodeName:       {"NodeName", "node(s) did not match the requested node name"},
	filterNodeReady:      {"NodeReady", "node(s) were not ready"},
	filterUnschedulable:  {"Unschedulable", "node(s) were unschedulable"},
	filterTaints:         {"Taints", "node(s) had untolerated taints"},
	filterNodeSelector:   {"NodeSelector", "node(s) did not match the pod's node selector"},
	filterNodeAffinity:   {"NodeAffinity", "node(s) did not match the pod's node affinity"},
	filterCPU:            {"CPU", "Insufficient cpu"},
	filterMemory:         {"Memory", "Insufficient memory"},
	filterStorage:        {"Storage", "Insufficient storage"},
	filterPods:           {"Pods", "Too many pods"},
	filterPodAffinity:    {"PodAffinity", "node(s) did not match pod affinity rules"},
	filterAntiAffinity:   {"PodAntiAffinity", "node(s) did not match pod anti-affinity rules"},
	filterSymmetry:       {"PodAntiAffinity", "node(s) did not satisfy existing pods' anti-affinity rules"},
	filterSpreadLabel:    {"TopologySpread", "node(s) did not match pod topology spread constraints (missing required label)"},
	filterSpread:         {"TopologySpread", "node(s) did not match pod topology spread constraints"},
}

func (f filterID) name() string    { return filters[f].name }
func (f filterID) message() string { return filters[f].message }

// ofRoom reports whether pods that leave may help past the filter.
func (f filterID) ofRoom() bool {
	return f >= filterCPU && f != filterPodAffinity && f != filterSpreadLabel
}

// query is one pod that looks for a node.
type query struct {
	pod     *api.Pod
	demands demands
	asked   amounts
	failed  []filterID // by slot: who refused it; nil where nobody wants to know
}

// amounts is what a pod asks for.
type amounts struct{ cpu, memory, storage int64 }

func (x *index) queryFor(p *api.Pod) *query {
	q := &x.scratch.query
	*q = query{pod: p, asked: amounts{
		cpu: int64(p.ResourceRequests.CPU), memory: int64(p.ResourceRequests.Memory), storage: int64(p.ResourceRequests.Storage),
	}}
	if k, ok := x.pack(p.PackID); ok {
		q.demands = demandsOf(k.Metadata)
	}
	return q
}

// scratch is what a plan writes in, kept from pod to pod.
type scratch struct {
	query   query
	mask    bitset
	other   bitset
	places  bitset // spread constraints: nodes that count
	before  bitset
	start   bitset
	failed  []filterID
	fits    []int32
	totals  []int32
	scores  [scorerCount][]int32
	weights []int32 // by slot
	key     key
	plans   uint64 // how many there were
	near    nearness
}

// reserve makes the scratch as large as the cluster.
func (x *index) reserve() {
	s, n := &x.scratch, len(x.nodes)
	if len(s.mask) != len(x.alive) || len(s.weights) != n {
		w := len(x.alive)
		for _, b := range []*bitset{&s.mask, &s.other, &s.places, &s.before, &s.start} {
			*b = make(bitset, w)
		}
		s.failed, s.weights = make([]filterID, n), make([]int32, n)
		s.near = nearness{weights: make([]int32, n), slots: make(bitset, w)}
		s.fits, s.totals = make([]int32, 0, n), make([]int32, n)
		for i := range s.scores {
			s.scores[i] = make([]int32, n)
		}
	}
}

// filter gives the nodes that fit. The answer is good until the next call.
func (x *index) filter(q *query) bitset {
	mask := x.byKind(q)
	x.byRoom(q, mask)
	x.byPods(q, mask)
	return mask
}

// byKind gives the nodes that pass the filters that look at what a node is.
func (x *index) byKind(q *query) bitset {
	x.reserve()
	mask := x.scratch.mask
	copy(mask, x.alive)
	x.judge(q)
	x.byClass(q, mask)
	x.bySelector(q, mask)
	return mask
}

// note notes who refused a node.
func (q *query) note(slot int, f filterID) {
	if q.failed != nil {
		q.failed[slot] = f
	}
}

func (x *index) byClass(q *query, mask bitset) {
	named := noSlot
	want := q.pod.Scheduling.NodeName
	if slot, ok := x.names[want]; ok {
		named = slot
	}
	for w, word := range mask {
		for left := word; left != 0; left &= left - 1 {
			bit := bits.TrailingZeros64(left)
			slot := w*wordBits + bit
			f := x.classes[x.class[slot]].refusal
			if want != "" && int32(slot) != named && f > filterNodeName {
				f = filterNodeName
			}
			if f != noFilter {
				word &^= 1 << bit
				q.note(slot, f)
			}
		}
		mask[w] = word
	}
}

// noteLost notes the filter for the nodes that mask has lost since before.
func (q *query) noteLost(before, mask bitset, f filterID) {
	if q.failed == nil {
		return
	}
	for w := range mask {
		for left := before[w] &^ mask[w]; left != 0; left &= left - 1 {
			q.failed[w*wordBits+bits.TrailingZeros64(left)] = f
		}
	}
}

// bySelector leaves the nodes that meet node selector and required node affinity.
func (x *index) bySelector(q *query, mask bitset) {
	s, before := &q.pod.Scheduling, x.scratch.before
	if len(s.NodeSelector) > 0 {
		copy(before, mask)
		x.selected(s.NodeSelector, mask)
		q.noteLost(before, mask, filterNodeSelector)
	}
	if s.NodeAffinity != nil && s.NodeAffinity.Required != nil {
		copy(before, mask)
		x.near(s.NodeAffinity.Required, mask)
		q.noteLost(before, mask, filterNodeAffinity)
	}
}

func (x *index) selected(want map[string]string, mask bitset) {
	for k, v := range want {
		one := [1]string{v}
		x.column(k).require(api.Requirement{Key: k, Operator: api.OpIn, Values: one[:]}, mask)
	}
}

// near leaves the nodes that meet any of the terms.
func (x *index) near(s *api.NodeSelector, mask bitset) {
	start := x.scratch.start
	copy(start, mask)
	clear(mask)
	for _, t := range s.NodeSelectorTerms {
		copy(x.scratch.other, start)
		x.meets(t, x.scratch.other)
		mask.or(x.scratch.other)
	}
}

// meets leaves the nodes that meet a term; none meets the empty one.
func (x *index) meets(t api.NodeSelectorTerm, mask bitset) {
	if len(t.MatchExpressions) == 0 && len(t.MatchFields) == 0 {
		clear(mask)
	}
	for _, r := range t.MatchExpressions {
		x.column(r.Key).require(r, mask)
	}
	for _, r := range t.MatchFields {
		x.field(r, mask)
	}
}

// field leaves the nodes whose field meets r. There is one field; of any other
// nodes have no value.
func (x *index) field(r api.Requirement, mask bitset) {
	if r.Key == api.FieldMetadataName {
		x.column(nameColumn).require(r, mask)
	} else if r.Operator != api.OpNotIn && r.Operator != api.OpDoesNotExist {
		clear(mask)
	}
}

// byRoom leaves the nodes with room.
func (x *index) byRoom(q *query, mask bitset) {
	for w, word := range mask {
		if word == 0 || x.takesAll(q, w) {
			continue
		}
		for left := word; left != 0; left &= left - 1 {
			bit := bits.TrailingZeros64(left)
			slot := w*wordBits + bit
			if f := x.short(q, slot); f != noFilter {
				word &^= 1 << bit
				q.note(slot, f)
			}
		}
		mask[w] = word
	}
}

// short gives the first thing that a node has too little of. A pod that asks for
// nothing of it always fits.
func (x *index) short(q *query, slot int) filterID {
	switch a := &q.asked; {
	case a.cpu > x.cpu[slot] && a.cpu > 0:
		return filterCPU
	case a.memory > x.memory[slot] && a.memory > 0:
		return filterMemory
	case a.storage > x.storage[slot] && a.storage > 0:
		return filterStorage
	case x.room[slot] < 1:
		return filterPods
	default:
		return noFilter
	}
}
