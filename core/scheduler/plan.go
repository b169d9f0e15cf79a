package scheduler

import (
	"time"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Snapshot is what a plan is made from. Plan changes none of it.
type Snapshot struct {
	Nodes   []api.Node
	Pods    []api.Pod // live ones hold room, pending ones are planned; terminal ones do not count
	Config  api.ClusterConfig
	Members []api.NamespaceMember // of namespaces that private nodes name
}

// Decision is the fate of one pending pod: a node, or a verdict.
type Decision struct {
	PodID       string
	Incarnation int
	NodeID      string       // "" when there is a verdict
	Verdict     *api.Verdict // nil when there is a node
	Score       int          // of the node, 0 to MaxScore
	Scores      []ScorePart  // what the score is made of

	seen mark // the pod as the plan saw it
}

// mark tells one state of a pod from another.
type mark struct {
	incarnation int
	updated     time.Time
}

func markOf(p *api.Pod) mark { return mark{incarnation: p.Incarnation, updated: p.UpdatedAt} }

// ScorePart is what one scorer gave to the chosen node.
type ScorePart struct {
	Name   string
	Score  int // 0 to MaxScore
	Weight int
}

// Pipeline is what a plan asks of nodes: Kind filters first, then Room filters,
// then the scorers that a policy names. Each list may be extended.
type Pipeline struct {
	Kind    []Filter // what a node is
	Room    []Filter // what is free on it
	Scorers func(policy api.SchedulingPolicy) []Scorer
}

// Default is the pipeline of Plan.
func Default() Pipeline {
	return Pipeline{Kind: kindFilters(), Room: roomFilters(), Scorers: scorersFor}
}

// Plan decides about every pending pod of the snapshot, by priority and then by
// age. It is pure and gives the same answer to the same question.
func Plan(s Snapshot, now time.Time) []Decision { return Default().Plan(s, now) }

// Plan is Plan with filters and scorers of one's own.
func (pl Pipeline) Plan(s Snapshot, now time.Time) []Decision {
	c := newCycle(s)
	filters := append(append([]Filter(nil), pl.Kind...), pl.Room...)
	scorers := pl.Scorers(s.Config.SchedulingPolicy)
	decisions := make([]Decision, 0, len(c.pending))
	for i := range c.pending {
		p := &c.pending[i]
		d := Decision{PodID: p.Pod.ID, Incarnation: p.Pod.Incarnation, seen: markOf(p.Pod)}
		c.filter(p, filters)
		if len(c.fits) == 0 {
			d.Verdict = pl.verdict(c, p, filters, now)
		} else {
			n := c.best(p, scorers, &d)
			d.NodeID = n.Node.ID
			n.Used = node.Add(n.Used, p.Pod.ResourceRequests)
		}
		decisions = append(decisions, d)
	}
	return decisions
}

// filter leaves the nodes that fit in c.fits, and in c.failed who refused the others.
func (c *cycle) filter(p *PodInfo, filters []Filter) {
	c.fits = c.fits[:0]
	for i, n := range c.nodes {
		c.failed[i] = firstRefusal(p, n, filters)
		if c.failed[i] < 0 {
			c.fits = append(c.fits, n)
		}
	}
}

func firstRefusal(p *PodInfo, n *NodeInfo, filters []Filter) int {
	for i, f := range filters {
		if !f.Fits(p, n) {
			return i
		}
	}
	return -1
}

// best gives the node with the highest weighted score. Among equals it takes the
// one with more room left, then the first by name.
func (c *cycle) best(p *PodInfo, scorers []Scorer, d *Decision) *NodeInfo {
	totals, scores := c.totals[:len(c.fits)], c.scores[:len(c.fits)]
	clear(totals)
	weights := 0
	for _, s := range scorers {
		s.Score(p, c.fits, scores)
		weights += s.Weight()
		for i := range totals {
			totals[i] += scores[i] * s.Weight()
		}
	}
	top := 0
	for i := 1; i < len(totals); i++ {
		if totals[i] > totals[top] || totals[i] == totals[top] && load(p, c.fits[i]) < load(p, c.fits[top]) {
			top = i
		}
	}
	if weights > 0 {
		d.Score = totals[top] / weights
	}
	d.Scores = c.parts(p, scorers, top)
	return c.fits[top]
}

// parts takes the chosen node's score apart.
func (c *cycle) parts(p *PodInfo, scorers []Scorer, top int) []ScorePart {
	scores := c.scores[:len(c.fits)]
	parts := make([]ScorePart, len(scorers))
	for i, s := range scorers {
		s.Score(p, c.fits, scores)
		parts[i] = ScorePart{Name: s.Name(), Score: scores[top], Weight: s.Weight()}
	}
	return parts
}
