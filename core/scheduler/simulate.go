package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Fate is what Simulate finds out about one pod that waits, or that had to leave.
type Fate struct {
	Pod       api.Pod
	From      string       // name of the node that it had to leave; "" for none
	Node      string       // name of the node that it gets; "" for none
	Score     int          // of that node, 0 to MaxScore
	Preemptor string       // id of the pod for which it had to leave; "" for none
	Ends      bool         // it has to leave and does not run again: its restart policy is Never
	Verdict   *api.Verdict // why it gets no node
}

// Placed reports whether nothing is left to wait for.
func (f Fate) Placed() bool { return f.Node != "" || f.Ends }

// Simulate plays through what becomes of a cluster: the nodes that drain lists by id take
// nobody and their pods leave, every pod that waits is planned, victims of preemption
// leave at once and are planned themselves, until nothing moves any more. It changes
// nothing of s, and is as pure as Plan. Graces, budgets of drains and quotas are not part
// of the play; pods that are stopping are thought to have gone. The fates come in the
// order in which pods are planned.
func Simulate(s Snapshot, drain []string, now time.Time) []Fate {
	g := newGame(s)
	for _, id := range drain {
		g.drain(id)
	}
	for range len(g.pods) + 1 { // every round but the last drives somebody out
		if !g.round(now) {
			break
		}
	}
	return g.outcome()
}

// game is a cluster in play.
type game struct {
	s     Snapshot
	pods  map[string]*api.Pod
	names map[string]string // of nodes, by id
	fates map[string]*Fate
}

func newGame(s Snapshot) *game {
	g := &game{s: s, pods: make(map[string]*api.Pod, len(s.Pods)), names: make(map[string]string, len(s.Nodes)), fates: map[string]*Fate{}}
	g.s.Nodes, g.s.Pods = slices.Clone(s.Nodes), make([]api.Pod, 0, len(s.Pods))
	for _, n := range g.s.Nodes {
		g.names[n.ID] = n.Name
	}
	for _, p := range s.Pods {
		if p.Status == api.PodStopping || p.StopRequestedAt != nil {
			continue
		}
		p.NominatedNodeID = ""
		g.s.Pods = append(g.s.Pods, p)
	}
	for i := range g.s.Pods {
		p := &g.s.Pods[i]
		g.pods[p.ID] = p
		if waiting(p) {
			g.fates[p.ID] = &Fate{}
		}
	}
	return g
}

// drain cordons a node and has its pods leave.
func (g *game) drain(id string) {
	for i := range g.s.Nodes {
		if n := &g.s.Nodes[i]; n.ID == id {
			n.Unschedulable = true
			if n.Status == api.NodeOnline {
				n.Status = api.NodeDraining // so that whoever tolerates a cordon stays away, too
			}
		}
	}
	for i := range g.s.Pods {
		if p := &g.s.Pods[i]; holding(p) && *p.NodeID == id {
			g.leave(p, "")
		}
	}
}

// leave takes a pod's node away.
func (g *game) leave(p *api.Pod, preemptor string) {
	f := g.fates[p.ID]
	if f == nil {
		f = &Fate{From: g.names[*p.NodeID]}
		g.fates[p.ID] = f
	}
	f.Node, f.Score, f.Preemptor = "", 0, preemptor
	p.NodeID, p.NodeName, p.Eviction = nil, "", nil
	if p.RestartPolicy == api.RestartNever {
		p.Status, f.Ends = api.PodEvicted, true
		return
	}
	p.Status, p.Incarnation = api.PodPending, p.Incarnation+1
}

// round plans once, and reports whether somebody had to leave for somebody.
func (g *game) round(now time.Time) bool {
	moved := false
	for _, d := range Plan(g.s, now) {
		p, f := g.pods[d.PodID], g.fates[d.PodID]
		f.Verdict = d.Verdict
		if d.NodeID != "" {
			p.Status, p.NodeID, p.NodeName, p.NominatedNodeID = api.PodRunning, &d.NodeID, g.names[d.NodeID], ""
			f.Node, f.Score = p.NodeName, d.Score
			continue
		}
		p.NominatedNodeID = d.NominatedNodeID
		for _, v := range d.Victims {
			g.leave(g.pods[v.PodID], p.ID)
			moved = true
		}
	}
	return moved
}

func (g *game) outcome() []Fate {
	pods := make([]*api.Pod, 0, len(g.fates))
	for id := range maps.Keys(g.fates) {
		pods = append(pods, g.pods[id])
	}
	out := make([]Fate, 0, len(pods))
	for _, p := range inOrder(pods) {
		f := *g.fates[p.ID]
		f.Pod = *p
		out = append(out, f)
	}
	return out
}

// String says it in one line, for tests and logs.
func (f Fate) String() string {
	switch {
	case f.Ends:
		return fmt.Sprintf("%s ends", f.Pod.ID)
	case f.Node == "":
		return fmt.Sprintf("%s waits: %s", f.Pod.ID, f.Verdict.Message)
	default:
		return fmt.Sprintf("%s on %s", f.Pod.ID, f.Node)
	}
}
