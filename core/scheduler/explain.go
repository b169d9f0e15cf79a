package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// MaxCandidates bounds the nodes that an explanation compares.
const MaxCandidates = 50

// Explain says what the scheduler thinks of a pod, whether the snapshot holds it or
// not: why it has no node, or how the nodes compare that could take it. A pod that
// has one is looked at as if it came anew, without the room that it holds. What
// other pending pods may take first is not part of the answer.
func Explain(s Snapshot, p api.Pod, now time.Time) api.Explanation {
	x := newIndex(s)
	e := api.Explanation{PodID: p.ID}
	if holding(&p) {
		e.NodeID, e.NodeName = *p.NodeID, p.NodeName
	}
	asked := p
	asked.Status, asked.NodeID, asked.StopRequestedAt, asked.Eviction = api.PodPending, nil, nil, nil
	x.putPod(&asked)
	x.release(&asked)
	q := x.queryFor(&asked)
	if fits := slices.Clone(x.filter(q).slots(nil)); len(fits) > 0 {
		e.Candidates = x.candidates(q, fits)
		if e.NodeID == "" {
			e.NodeID, e.NodeName = e.Candidates[0].NodeID, e.Candidates[0].NodeName
		}
		return e
	}
	if e.NodeID != "" {
		return e // it runs, and would fit nowhere today: that is no reason to say why not
	}
	d := Decision{PodID: p.ID, Incarnation: p.Incarnation}
	x.refuse(q, &d, now)
	e.Verdict = d.Verdict
	for _, v := range d.Victims {
		e.Victims = append(e.Victims, api.Victim{PodID: v.PodID, Namespace: v.Namespace, Priority: v.Priority})
	}
	return e
}

// FromStore takes the snapshot that Plan and Explain ask for from the read model.
func FromStore(st *store.Store) Snapshot {
	return Snapshot{
		Nodes: all(st.Nodes.Snapshot()), Pods: all(st.Pods.Snapshot()), Config: st.Config(), Members: all(st.Members.Snapshot()),
		Namespaces: all(st.Namespaces.Snapshot()), PriorityClasses: all(st.PriorityClasses.Snapshot()), Packs: all(st.Packs.Snapshot()),
	}
}

func all[T any](v store.View[T]) []T {
	out := make([]T, 0, v.Len())
	for _, one := range v.All() {
		out = append(out, one)
	}
	return out
}

// scoresAt gives the scores that rate has found for one of its nodes.
func (x *index) scoresAt(i int) (at [scorerCount]int32) {
	for k := range at {
		at[k] = x.scratch.scores[k][i]
	}
	return at
}

// candidates compares the nodes that fit, the best first, as choose orders them.
func (x *index) candidates(q *query, fits []int32) []api.Candidate {
	w := x.rate(q, fits)
	ranks, totals := x.rank(), x.scratch.totals
	order := make([]int, len(fits))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(totals[b], totals[a]), cmp.Compare(x.load(q, fits[a]), x.load(q, fits[b])),
			cmp.Compare(ranks[fits[a]], ranks[fits[b]]),
		)
	})
	out := make([]api.Candidate, 0, min(len(order), MaxCandidates))
	for _, i := range order[:min(len(order), MaxCandidates)] {
		n := x.nodes[fits[i]].node
		scores := x.scoresAt(i)
		score, parts := x.apart(w, &scores)
		out = append(out, api.Candidate{NodeID: n.ID, NodeName: n.Name, Score: score, Parts: parts})
	}
	return out
}
