package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Snapshot is what a plan is made from. Plan changes none of it.
type Snapshot struct {
	Nodes           []api.Node
	Pods            []api.Pod // live ones hold room, pending ones are planned; ended ones tell where bundles are
	Config          api.ClusterConfig
	Members         []api.NamespaceMember // of namespaces that private nodes name
	Namespaces      []api.Namespace       // their labels and budgets
	PriorityClasses []api.PriorityClass   // their preemption policies
	Packs           []api.Pack            // what they ask of the runtime
}

// Decision is the fate of one pending pod: a node, or a verdict.
type Decision struct {
	PodID       string
	Incarnation int
	NodeID      string       // "" when there is a verdict
	Verdict     *api.Verdict // nil when there is a node
	Score       int          // of the node, 0 to MaxScore
	Scores      []api.ScorePart

	// NominatedNodeID is the node that holds room for a pod without one: until
	// Victims have left, or because the pod has waited for too long.
	NominatedNodeID string
	Victims         []Victim // to be told to leave, all of them or none

	seen   *api.Pod // as the plan saw it
	refuse []uint32 // by filterID, how many nodes it refused
}

// Victim is a pod that must leave for another to fit.
type Victim struct {
	PodID       string
	Incarnation int
	Namespace   string
	Priority    int32
	CreatedBy   string
}

// Plan decides about every pending pod of the snapshot, by priority and then by
// age. It is pure and gives the same answer to the same question.
func Plan(s Snapshot, now time.Time) []Decision {
	x := newIndex(s)
	var pending []*api.Pod
	for i := range s.Pods {
		if waiting(&s.Pods[i]) {
			pending = append(pending, &s.Pods[i])
		}
	}
	return x.plan(inOrder(pending), now)
}

// inOrder sorts pods by priority, then age.
func inOrder(pods []*api.Pod) []*api.Pod {
	slices.SortFunc(pods, func(a, b *api.Pod) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return pods
}

// plan decides about pods in this order. What it decides counts in the index.
func (x *index) plan(pods []*api.Pod, now time.Time) []Decision {
	decisions := make([]Decision, 0, len(pods))
	for _, p := range pods {
		if waiting(x.pods[p.ID].pod) {
			decisions = append(decisions, x.decide(p, now))
		}
	}
	return decisions
}

func (x *index) decide(p *api.Pod, now time.Time) Decision {
	d := Decision{PodID: p.ID, Incarnation: p.Incarnation, seen: p}
	released := x.release(p)
	defer x.hold(released)
	q := x.queryFor(p)
	if slot := x.choose(q, &d); slot != noSlot {
		d.NodeID = x.nodes[slot].node.ID
		x.assume(x.pods[p.ID], slot)
		return d
	}
	x.refuse(q, &d, now)
	return d
}

// release gives back the room that is held for the pod itself and for pods of lower
// priority: it may take that.
func (x *index) release(p *api.Pod) []*entry {
	var released []*entry
	for id, e := range x.nominated {
		if e.held && (id == p.ID || e.pod.Priority < p.Priority) {
			x.take(e, -1)
			released = append(released, e)
		}
	}
	return released
}

// hold takes the room again, of those that still wait for it.
func (x *index) hold(released []*entry) {
	for _, e := range released {
		if x.nominated[e.pod.ID] == e && e.slot != noSlot {
			x.take(e, 1)
		}
	}
}

// choose gives the node with the highest weighted score, noSlot where none fits.
// Among equals it takes the one with more room left, then the first by name.
func (x *index) choose(q *query, d *Decision) int32 {
	b, w := x.pick(q)
	if b.slot != noSlot {
		d.Score, d.Scores = x.apart(w, &b.scores)
	}
	return b.slot
}

// scorerNames are what scorers are called in answers.
var scorerNames = [scorerCount]string{
	scoreTaints: "Taints", scoreNodeAffinity: "NodeAffinity", scorePodAffinity: "PodAffinity",
	scoreSpread: "TopologySpread", scoreBundle: "Bundle",
}

func policyName(p api.SchedulingPolicy) string {
	switch p {
	case api.PolicyBinpack:
		return "Binpack"
	case api.PolicyLeastLoaded:
		return "LeastLoaded"
	case api.PolicyRandom:
		return "Random"
	default:
		return "Spread"
	}
}

// apart takes the score of a node apart.
func (x *index) apart(w weigher, scores *[scorerCount]int32) (int, []api.ScorePart) {
	parts := make([]api.ScorePart, 0, scorerCount)
	sum, total := int32(0), int32(0)
	for k, weight := range w {
		if weight == 0 {
			continue
		}
		name := scorerNames[k]
		if k == scorePolicy {
			name = policyName(x.config.SchedulingPolicy)
		}
		sum += weight
		total += weight * scores[k]
		parts = append(parts, api.ScorePart{Name: name, Score: int(scores[k]), Weight: int(weight)})
	}
	if sum == 0 {
		return 0, parts
	}
	return int(total / sum), parts
}
