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

// verdict explains why no node fits.
func (pl Pipeline) verdict(c *cycle, p *PodInfo, filters []Filter, now time.Time) *api.Verdict {
	v := &api.Verdict{PodID: p.Pod.ID, Reason: api.ReasonUnschedulable, PlanTime: now}
	if len(c.nodes) == 0 {
		v.Reason, v.Message = api.ReasonWaitingForNode, "0/0 nodes are available: no node has registered yet."
		return v
	}
	if pl.neverFits(c, p) {
		v.Reason = api.ReasonNeverFits
	}
	misses := make([]miss, len(c.nodes))
	counts := map[string]int{}
	for i, n := range c.nodes {
		misses[i] = miss{node: n, filter: c.failed[i], Refusal: filters[c.failed[i]].Explain(p, n)}
		counts[misses[i].Message]++
	}
	v.Message = summary(len(c.nodes), counts)
	if v.Reason == api.ReasonNeverFits {
		v.Message += " The pod would not fit even if they were empty."
	}
	slices.SortStableFunc(misses, func(a, b miss) int {
		return cmp.Or(cmp.Compare(b.filter, a.filter), cmp.Compare(a.Asked-a.Free, b.Asked-b.Free))
	})
	for _, m := range misses[:min(len(misses), MaxVerdictNodes)] {
		v.Nodes = append(v.Nodes, api.NodeRefusal{
			NodeID: m.node.Node.ID, NodeName: m.node.Node.Name, Filter: filters[m.filter].Name(),
			Message: m.Message, Asked: m.Asked, Free: m.Free,
		})
	}
	return v
}

// miss is a node and why it was ruled out; a later filter is a nearer miss.
type miss struct {
	Refusal
	node   *NodeInfo
	filter int
}

// neverFits reports whether waiting for room is in vain: every node that could be
// asked at all, by the first filter, is too small even when empty.
func (pl Pipeline) neverFits(c *cycle, p *PodInfo) bool {
	small := false
	for _, n := range c.nodes {
		if len(pl.Kind) > 0 && !pl.Kind[0].Fits(p, n) {
			continue
		}
		empty := *n
		empty.Used = api.Capacity{}
		if firstRefusal(p, &empty, pl.Room) < 0 {
			return false
		}
		small = true
	}
	return small
}

// summary counts the reasons as Kubernetes does, the most frequent first.
func summary(nodes int, counts map[string]int) string {
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
	return fmt.Sprintf("0/%d nodes are available: %s.", nodes, strings.Join(reasons, ", "))
}
