package scheduler

import (
	"hash/fnv"

	"github.com/stark-orchestrator/stark/shared/api"
)

// MaxScore is the best score of a node.
const MaxScore = 100

// Scorer ranks the nodes that fit a pod: scores[i], from 0 to MaxScore, is for
// nodes[i]. It looks at nothing but its arguments.
type Scorer interface {
	Name() string
	Weight() int
	Score(p *PodInfo, nodes []*NodeInfo, scores []int)
}

type scorer struct {
	name   string
	weight int
	score  func(p *PodInfo, nodes []*NodeInfo, scores []int)
}

func (s scorer) Name() string                                      { return s.name }
func (s scorer) Weight() int                                       { return s.weight }
func (s scorer) Score(p *PodInfo, nodes []*NodeInfo, scores []int) { s.score(p, nodes, scores) }

// taintWeight makes an untolerated PreferNoSchedule taint weigh more than any
// policy: such a node is for those that find no other.
const taintWeight = 3

// scorersFor gives the scorers of a policy; spread is the default.
func scorersFor(policy api.SchedulingPolicy) []Scorer {
	taints := scorer{name: "Taints", weight: taintWeight, score: preferUntainted}
	switch policy {
	case api.PolicyBinpack:
		return []Scorer{scorer{name: "Binpack", weight: 1, score: binpack}, taints}
	case api.PolicyLeastLoaded:
		return []Scorer{scorer{name: "LeastLoaded", weight: 1, score: leastLoaded}, taints}
	case api.PolicyRandom:
		return []Scorer{scorer{name: "Random", weight: 1, score: scatter}, taints}
	default:
		return []Scorer{scorer{name: "Spread", weight: 1, score: spread}, taints}
	}
}

// spread prefers nodes with fewer pods.
func spread(_ *PodInfo, nodes []*NodeInfo, scores []int) {
	normalise(nodes, scores, func(n *NodeInfo) int { return n.Used.Pods })
}

// preferUntainted prefers nodes with fewer PreferNoSchedule taints that the pod
// does not tolerate.
func preferUntainted(p *PodInfo, nodes []*NodeInfo, scores []int) {
	normalise(nodes, scores, func(n *NodeInfo) int {
		count := 0
		for i := range n.softTaints {
			if !toleratedBy(p.Pod.Tolerations, n.softTaints[i]) {
				count++
			}
		}
		return count
	})
}

// normalise gives MaxScore to the lowest count and 0 to the highest.
func normalise(nodes []*NodeInfo, scores []int, count func(*NodeInfo) int) {
	low, high := 0, 0
	for i, n := range nodes {
		scores[i] = count(n)
		if i == 0 || scores[i] < low {
			low = scores[i]
		}
		high = max(high, scores[i])
	}
	for i := range scores {
		if high == low {
			scores[i] = MaxScore
		} else {
			scores[i] = (high - scores[i]) * MaxScore / (high - low)
		}
	}
}

// binpack prefers nodes that would be fuller.
func binpack(p *PodInfo, nodes []*NodeInfo, scores []int) {
	for i, n := range nodes {
		scores[i] = int(load(p, n) * MaxScore)
	}
}

// leastLoaded prefers nodes that would be emptier.
func leastLoaded(p *PodInfo, nodes []*NodeInfo, scores []int) {
	for i, n := range nodes {
		scores[i] = MaxScore - int(load(p, n)*MaxScore)
	}
}

// load is the mean share of cpu and memory that would be taken with p on n, 0 to 1.
func load(p *PodInfo, n *NodeInfo) float64 {
	r := p.Pod.ResourceRequests
	return (share(int64(n.Used.CPU+r.CPU), int64(n.Node.Allocatable.CPU)) +
		share(int64(n.Used.Memory+r.Memory), int64(n.Node.Allocatable.Memory))) / 2
}

func share(used, of int64) float64 {
	if of <= 0 {
		return 1
	}
	return min(max(float64(used)/float64(of), 0), 1)
}

// scatter gives every pair of pod and node a number of its own that stays the same.
func scatter(p *PodInfo, nodes []*NodeInfo, scores []int) {
	for i, n := range nodes {
		h := fnv.New32a()
		_, _ = h.Write([]byte(p.Pod.ID))
		_, _ = h.Write([]byte(n.Node.ID))
		scores[i] = int(h.Sum32() % (MaxScore + 1))
	}
}
