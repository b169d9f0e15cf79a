package scheduler

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/core/namespace"
	"github.com/stark-orchestrator/stark/shared/api"
)

// starvesAfter is how long a pod may be overtaken by smaller ones. After that the
// node where it lacks least holds room for it.
const starvesAfter = 5 * time.Minute

// maxCostly bounds the nodes on which preemption is tried out for a pod that looks
// at its neighbours: each try counts every node.
const maxCostly = 100

// nominate looks for room that others can make for a pod that fits nowhere.
func (x *index) nominate(q *query, d *Decision, now time.Time) {
	if at := x.pods[q.pod.ID].slot; q.pod.NominatedNodeID != "" && at != noSlot && x.stopping(q, at) {
		d.NominatedNodeID = q.pod.NominatedNodeID
		d.Verdict.Message += fmt.Sprintf(" Pods of lower priority stop on %s to make room for it.", x.nodes[at].node.Name)
		d.Verdict.Change = "wait until they have stopped"
		return
	}
	slot, soon := noSlot, noSlot
	var budgets map[string]int
	if x.mayPreempt(q.pod) {
		if soon = x.soonFree(q); soon == noSlot {
			budgets = x.budgets()
			slot, d.Victims = x.preempt(q, budgets)
		}
	}
	if soon == noSlot && slot == noSlot && d.Verdict.Reason == api.ReasonWaitingForRoom {
		d.Verdict.Message += x.spared(q, budgets)
	}
	switch {
	case soon != noSlot:
		slot = soon
		d.Verdict.Reason = api.ReasonWaitingForRoom
		d.Verdict.Message += fmt.Sprintf(" Pods that stop on %s make room for it.", x.nodes[slot].node.Name)
		d.Verdict.Change = "wait until they have stopped"
	case slot != noSlot:
		name := x.nodes[slot].node.Name
		d.Verdict.Reason = api.ReasonWaitingForRoom
		d.Verdict.Message += fmt.Sprintf(" Preemption: %s of lower priority %s %s for it.", numbered(len(d.Victims)), plural(len(d.Victims), "leaves", "leave"), name)
		d.Verdict.Change = fmt.Sprintf("wait until %s on %s %s stopped", numbered(len(d.Victims)), name, plural(len(d.Victims), "has", "have"))
	case d.Verdict.Reason == api.ReasonWaitingForRoom && now.Sub(q.pod.CreatedAt) >= starvesAfter:
		if slot = x.starving(q); slot == noSlot {
			break
		}
		d.Verdict.Message += fmt.Sprintf(" It has waited for long: %s holds what gets free for it.", x.nodes[slot].node.Name)
	}
	x.settleOn(d, slot)
}

// spared says why nobody has to leave for a pod that others could make room for, where it
// is not plain: "" where those that would have to are as important as the pod itself, or
// where the cluster does not preempt at all.
func (x *index) spared(q *query, budgets map[string]int) string {
	if !x.config.EnablePreemption {
		return ""
	}
	if !x.mayPreempt(q.pod) {
		return fmt.Sprintf(" No preemption: its priority class %s has preemptionPolicy Never.", q.pod.PriorityClassName)
	}
	if len(budgets) == 0 {
		return ""
	}
	for range x.plots(q, nil) {
		return " No preemption: the disruption budgets of their namespaces keep the pods that could make room for it."
	}
	return ""
}

// settleOn makes a nomination count, or the end of one.
func (x *index) settleOn(d *Decision, slot int32) {
	p := *x.pods[d.PodID].pod
	if slot != noSlot {
		d.NominatedNodeID = x.nodes[slot].node.ID
	}
	for _, v := range d.Victims {
		victim := *x.pods[v.PodID].pod
		victim.Eviction = &api.Eviction{Reason: api.ReasonPreempted, Preemptor: p.ID}
		if victim.Status != api.PodUnknown {
			victim.Status = api.PodStopping
		}
		x.putPod(&victim)
	}
	if p.NominatedNodeID != d.NominatedNodeID {
		p.NominatedNodeID = d.NominatedNodeID
		x.putPod(&p)
	}
}

// stopping reports whether pods of lower priority leave the node already.
func (x *index) stopping(q *query, slot int32) bool {
	return slices.ContainsFunc(x.nodes[slot].pods, func(e *entry) bool {
		return e.pod.Priority < q.pod.Priority && leaving(e.pod)
	})
}

// soonFree gives a node that takes the pod when those have gone that leave it already,
// noSlot for none: nobody else need leave then. The room that others wait for there is
// not counted, and the node that the pod was nominated to comes first.
func (x *index) soonFree(q *query) int32 {
	neighbours, costly := x.looksAround(q.pod), 0
	soon := func(slot int32) bool {
		if x.nodes[slot].leaving == 0 || !x.couldMakeRoom(q, slot) {
			return false
		}
		gone := x.leave(slot)
		fits := (!neighbours || costly < maxCostly) && x.fitsOn(q, slot, neighbours)
		costly++
		x.stay(gone)
		return fits
	}
	if at := x.pods[q.pod.ID].slot; at != noSlot && q.pod.NominatedNodeID != "" && soon(at) {
		return at
	}
	for _, slot := range x.byRank() {
		if soon(slot) {
			return slot
		}
	}
	return noSlot
}

// couldMakeRoom reports whether a node refuses the pod for its room or its pods alone, and is
// large enough. It reads q.failed.
func (x *index) couldMakeRoom(q *query, slot int32) bool {
	return q.failed[slot] != noFilter && q.failed[slot].ofRoom() && x.fitsEmpty(q, slot)
}

// leave thinks away the pods that leave a node already, until they stay again.
func (x *index) leave(slot int32) []*entry {
	var gone []*entry
	if x.nodes[slot].leaving == 0 {
		return nil
	}
	for _, e := range x.nodes[slot].pods {
		if leaving(e.pod) {
			gone = append(gone, e)
		}
	}
	for _, e := range gone {
		x.detach(e)
	}
	return gone
}

func (x *index) stay(gone []*entry) {
	for _, e := range gone {
		x.attach(e)
	}
}

func leaving(p *api.Pod) bool {
	return p.Status == api.PodStopping || p.StopRequestedAt != nil || p.Eviction != nil
}

// mayPreempt asks the cluster's configuration and the pod's class, where it still is.
func (x *index) mayPreempt(p *api.Pod) bool {
	class, ok := x.priorities[p.PriorityClassName]
	return x.config.EnablePreemption && (!ok || class.PreemptionPolicy != api.PreemptNever)
}

// preempt gives the node where the fewest and least important pods have to leave,
// and those, or noSlot where nobody's leaving would help. Budgets are how many running
// pods of a namespace may leave; one that is not there has no bound. It reads q.failed.
func (x *index) preempt(q *query, budgets map[string]int) (int32, []Victim) {
	best := plot{slot: noSlot}
	for p := range x.plots(q, budgets) {
		if best.slot == noSlot || p.before(best) {
			best = p
		}
	}
	if best.slot == noSlot {
		return noSlot, nil
	}
	victims := make([]Victim, len(best.victims))
	for i, e := range best.victims {
		victims[i] = Victim{
			PodID: e.pod.ID, Incarnation: e.pod.Incarnation, Namespace: e.pod.Namespace,
			Priority: e.pod.Priority, CreatedBy: e.pod.CreatedBy,
		}
	}
	return best.slot, victims
}

// plots gives what preemption could do for the pod, by the names of the nodes.
func (x *index) plots(q *query, budgets map[string]int) iter.Seq[plot] {
	return func(yield func(plot) bool) {
		neighbours, costly := x.looksAround(q.pod), 0
		for _, slot := range x.byRank() {
			if !x.couldMakeRoom(q, slot) {
				continue
			}
			if neighbours {
				if costly++; costly > maxCostly {
					return
				}
			}
			if p, ok := x.plot(q, slot, budgets, neighbours); ok && !yield(p) {
				return
			}
		}
	}
}

// byRank gives the slots in the order of their nodes' names, to be read only.
func (x *index) byRank() []int32 {
	x.rank()
	return x.ordered
}

// looksAround reports whether it matters to the pod who else is where.
func (x *index) looksAround(p *api.Pod) bool {
	s := &p.Scheduling
	if s.PodAffinity != nil || s.PodAntiAffinity != nil || len(s.TopologySpreadConstraints) > 0 {
		return true
	}
	for o := range x.ownedOf.about(p.Labels) {
		if o.antiTotal > 0 && o.part.selects(x, p) {
			return true
		}
	}
	return false
}

// plot is what preemption would do on one node.
type plot struct {
	slot    int32
	victims []*entry // the most important first
}

// before prefers the plot that costs less: the lower highest priority, then fewer
// pods, then lower priorities in all, then those that have run for less.
func (p plot) before(other plot) bool {
	sum := func(p plot) (n int64) {
		for _, e := range p.victims {
			n += int64(e.pod.Priority)
		}
		return n
	}
	a, b := p.victims[0].pod, other.victims[0].pod
	return cmp.Or(
		cmp.Compare(a.Priority, b.Priority), cmp.Compare(len(p.victims), len(other.victims)),
		cmp.Compare(sum(p), sum(other)), b.CreatedAt.Compare(a.CreatedAt),
	) < 0
}

// plot finds out who has to leave one node besides those that do: all of lower priority
// that may be disturbed, except those that can stay, the most important first.
func (x *index) plot(q *query, slot int32, budgets map[string]int, neighbours bool) (plot, bool) {
	lower := x.lowerThan(q.pod, slot, budgets)
	if len(lower) == 0 {
		return plot{}, false
	}
	gone := x.leave(slot)
	for _, e := range lower {
		x.detach(e)
	}
	victims := make([]*entry, 0, len(lower))
	spent := map[string]int{}
	ok := x.fitsOn(q, slot, neighbours)
	for _, e := range lower {
		x.attach(e)
		if !ok || x.fitsOn(q, slot, neighbours) {
			continue
		}
		x.detach(e)
		victims = append(victims, e)
		if e.pod.Status == api.PodRunning {
			spent[e.pod.Namespace]++
		}
	}
	x.stay(victims)
	x.stay(gone)
	for ns, n := range spent {
		if most, bounded := budgets[ns]; bounded && n > most {
			return plot{}, false
		}
	}
	return plot{slot: slot, victims: victims}, ok && len(victims) > 0
}

// lowerThan gives the pods of a node that may have to leave for p, the most
// important first.
func (x *index) lowerThan(p *api.Pod, slot int32, budgets map[string]int) []*entry {
	var lower []*entry
	for _, e := range x.nodes[slot].pods {
		if most, bounded := budgets[e.pod.Namespace]; bounded && most <= 0 && e.pod.Status == api.PodRunning {
			continue
		}
		if e.pod.Priority < p.Priority && !leaving(e.pod) && !e.assumed {
			lower = append(lower, e)
		}
	}
	slices.SortFunc(lower, func(a, b *entry) int {
		return cmp.Or(
			cmp.Compare(b.pod.Priority, a.pod.Priority), a.pod.CreatedAt.Compare(b.pod.CreatedAt), cmp.Compare(a.pod.ID, b.pod.ID),
		)
	})
	return lower
}

// fitsOn reports whether the pod fits on a node as things are now, which it passes by
// kind.
func (x *index) fitsOn(q *query, slot int32, neighbours bool) bool {
	if x.short(q, int(slot)) != noFilter {
		return false
	}
	if !neighbours {
		return true
	}
	quiet := *q
	quiet.failed = nil
	mask := x.scratch.mask
	clear(mask)
	mask.set(slot)
	x.byPods(&quiet, mask)
	return mask.has(slot)
}

// budgets gives how many pods each namespace with a budget may still lose, by
// namespace.Unavailable. Who does not run may leave, whatever the budget: nobody is
// served by it.
func (x *index) budgets() map[string]int {
	left := map[string]int{}
	for name, ns := range x.namespaces {
		if ns.DisruptionBudget != nil {
			left[name] = ns.DisruptionBudget.MaxUnavailable
		}
	}
	if len(left) == 0 {
		return left
	}
	for _, e := range x.pods {
		if _, bounded := left[e.pod.Namespace]; bounded && namespace.Unavailable(*e.pod) {
			left[e.pod.Namespace]--
		}
	}
	return left
}

// starving gives a node to hold room for a pod that has waited for long: the one it
// has, else the one where it lacks least, as long as a tenth of the nodes at most do.
func (x *index) starving(q *query) int32 {
	useful := func(slot int32) bool {
		return q.failed[slot] >= filterCPU && q.failed[slot] <= filterPods && x.fitsEmpty(q, slot)
	}
	if at := x.pods[q.pod.ID].slot; at != noSlot && q.pod.NominatedNodeID != "" && useful(at) {
		return at
	}
	taken := make(map[int32]bool, len(x.nominated))
	for _, e := range x.nominated {
		taken[e.slot] = true
	}
	if len(taken) >= max(1, len(x.slots)/10) {
		return noSlot
	}
	best := noSlot
	for _, slot := range x.byRank() {
		if useful(slot) && !taken[slot] && (best == noSlot || x.lack(q, slot) < x.lack(q, best)) {
			best = slot
		}
	}
	return best
}
