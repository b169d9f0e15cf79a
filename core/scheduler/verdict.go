package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// MaxVerdictNodes bounds the nodes that a verdict names, the nearest miss first;
// its message counts all of them.
const MaxVerdictNodes = 50

// refuse gives a pod that fits nowhere its verdict, and room where others can make it.
func (x *index) refuse(q *query, d *Decision, now time.Time) {
	q.failed = x.scratch.failed
	for i := range q.failed {
		q.failed[i] = noFilter
	}
	x.filter(q)
	d.refuse = x.refusals(q)
	d.Verdict = x.verdict(q, now)
	x.nominate(q, d, now)
}

func (x *index) refusals(q *query) []uint32 {
	counts := make([]uint32, noFilter)
	for slot, f := range q.failed {
		if f != noFilter && x.nodes[slot].node != nil {
			counts[f]++
		}
	}
	return counts
}

// verdict explains why no node fits, from q.failed.
func (x *index) verdict(q *query, now time.Time) *api.Verdict {
	v := &api.Verdict{PodID: q.pod.ID, Reason: api.ReasonUnschedulable, PlanTime: now}
	if len(x.slots) == 0 {
		v.Reason, v.Message = api.ReasonWaitingForNode, "0/0 nodes are available: no node has registered yet."
		v.Change = "register a node that the pod may use"
		return v
	}
	v.Reason = x.hope(q)
	v.Message = fmt.Sprintf("0/%d nodes are available: %s.", len(x.slots), x.summary(q))
	if v.Reason == api.ReasonNeverFits {
		v.Message += " The pod would not fit even if they were empty."
	}
	near := x.nearest(q)
	for _, slot := range near {
		v.Nodes = append(v.Nodes, x.refusal(q, slot))
	}
	if len(near) > 0 {
		v.Change = x.change(q, near)
	}
	return v
}

// hope says what waiting is good for. Every node that could be asked at all, by its
// runtime, may be too small even when empty; or one would take the pod if others left.
func (x *index) hope(q *query) string {
	small, large, room := false, false, false
	for slot := range x.nodes {
		if x.nodes[slot].node == nil || q.failed[slot] == filterRuntime {
			continue
		}
		if !x.fitsEmpty(q, int32(slot)) {
			small = true
			continue
		}
		large = true
		room = room || q.failed[slot].ofRoom() && q.failed[slot] != noFilter
	}
	switch {
	case small && !large:
		return api.ReasonNeverFits
	case room:
		return api.ReasonWaitingForRoom
	default:
		return api.ReasonUnschedulable
	}
}

// fitsEmpty reports whether the pod would fit on a node without pods.
func (x *index) fitsEmpty(q *query, slot int32) bool {
	at := &x.nodes[slot]
	a, most := &q.asked, at.node.Allocatable
	return (a.cpu <= int64(most.CPU) || a.cpu == 0) && (a.memory <= int64(most.Memory) || a.memory == 0) &&
		(a.storage <= int64(most.Storage) || a.storage == 0) && at.maxPods > 0
}

// summary counts the reasons as Kubernetes does, the most frequent first.
func (x *index) summary(q *query) string {
	type kind struct {
		filter filterID
		class  int32 // for filters that say more about a class
	}
	kinds := map[kind]int{}
	for slot, f := range q.failed {
		if f == noFilter || x.nodes[slot].node == nil {
			continue
		}
		k := kind{filter: f}
		if f < filterCPU {
			k.class = x.class[slot]
		}
		kinds[k]++
	}
	counts := map[string]int{}
	for k, n := range kinds {
		counts[whyKind(q, &x.classes[k.class], k.filter)] += n
	}
	reasons := make([]string, 0, len(counts))
	for r := range counts {
		reasons = append(reasons, r)
	}
	slices.SortFunc(reasons, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, r := range reasons {
		reasons[i] = fmt.Sprintf("%d %s", counts[r], r)
	}
	return strings.Join(reasons, ", ")
}

// nearest gives the nodes that came nearest, at most MaxVerdictNodes: a later filter
// is a nearer miss, then what lacks less.
func (x *index) nearest(q *query) []int32 {
	ranks := x.rank()
	compare := func(a, b int32) int {
		lackA, lackB := x.lack(q, a), x.lack(q, b)
		return cmp.Or(cmp.Compare(q.failed[b], q.failed[a]), cmp.Compare(lackA, lackB), cmp.Compare(ranks[a], ranks[b]))
	}
	best := make([]int32, 0, MaxVerdictNodes+1)
	for slot := range x.nodes {
		if x.nodes[slot].node == nil || q.failed[slot] == noFilter {
			continue
		}
		if len(best) == MaxVerdictNodes && compare(int32(slot), best[len(best)-1]) >= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, int32(slot), compare)
		best = slices.Insert(best, at, int32(slot))
		best = best[:min(len(best), MaxVerdictNodes)]
	}
	return best
}

// amounts gives what was asked of a node and what it has, where the filter compares
// them.
func (x *index) amounts(q *query, slot int32, f filterID) (asked, free int64) {
	switch f {
	case filterCPU:
		return q.asked.cpu, x.cpu[slot]
	case filterMemory:
		return q.asked.memory, x.memory[slot]
	case filterStorage:
		return q.asked.storage, x.storage[slot]
	case filterPods:
		return 1, x.room[slot]
	default:
		return 0, 0
	}
}

func (x *index) lack(q *query, slot int32) int64 {
	asked, free := x.amounts(q, slot, q.failed[slot])
	return asked - max(free, 0)
}

func (x *index) refusal(q *query, slot int32) api.NodeRefusal {
	n, f := x.nodes[slot].node, q.failed[slot]
	asked, free := x.amounts(q, slot, f)
	return api.NodeRefusal{
		NodeID: n.ID, NodeName: n.Name, Filter: f.name(), Message: whyKind(q, &x.classes[x.class[slot]], f),
		Asked: asked, Free: max(free, 0),
	}
}

// changeOfRoom names every amount that the node has too little of.
func (x *index) changeOfRoom(q *query, slot int32) string {
	var free, most []string
	lack := func(what, unit string, asked, has, all int64) {
		if asked == 0 || asked <= has {
			return
		}
		free = append(free, fmt.Sprintf("%d%s of %s", asked-max(has, 0), unit, what))
		if asked > all {
			most = append(most, fmt.Sprintf("at most %d%s of %s", all, unit, what))
		}
	}
	n := x.nodes[slot].node
	a := n.Allocatable
	lack("cpu", "m", q.asked.cpu, x.cpu[slot], int64(a.CPU))
	lack("memory", " MiB", q.asked.memory, x.memory[slot], int64(a.Memory))
	lack("storage", " MiB", q.asked.storage, x.storage[slot], int64(a.Storage))
	if x.room[slot] < 1 {
		free = append(free, "a place for one more pod")
	}
	switch {
	case len(most) > 0:
		return "ask for " + strings.Join(most, ", ") + ", or add a larger node"
	case x.nodes[slot].maxPods < 1:
		return "add another node: " + n.Name + " takes no pods at all"
	default:
		return fmt.Sprintf("free %s on %s", strings.Join(free, ", "), n.Name)
	}
}
