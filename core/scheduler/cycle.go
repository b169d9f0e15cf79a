package scheduler

import (
	"cmp"
	"slices"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
)

// PodInfo is a pending pod within a plan.
type PodInfo struct {
	Pod *api.Pod
}

// NodeInfo is a node within a plan. Used grows with each decision of the plan.
type NodeInfo struct {
	Node    *api.Node
	Used    api.Capacity
	MaxPods int // the node's own bound, or the cluster's where that is lower

	hardTaints []api.Taint
	softTaints []api.Taint
	serves     map[string]struct{} // namespaces of others that a private node serves
}

// cycle is the working state of one plan.
type cycle struct {
	nodes   []*NodeInfo // by name, then id
	pending []PodInfo   // by priority, then age, then id

	// scratch, one entry per node
	fits   []*NodeInfo
	failed []int // index of the first filter that refused nodes[i], -1 for none
	scores []int
	totals []int
}

func newCycle(s Snapshot) *cycle {
	c := &cycle{
		fits:   make([]*NodeInfo, 0, len(s.Nodes)),
		failed: make([]int, len(s.Nodes)),
		scores: make([]int, len(s.Nodes)),
		totals: make([]int, len(s.Nodes)),
	}
	member := make(map[[2]string]bool, len(s.Members))
	for _, m := range s.Members {
		member[[2]string{m.Namespace, m.UserID}] = true
	}
	byID := make(map[string]*NodeInfo, len(s.Nodes))
	for i := range s.Nodes {
		n := newNodeInfo(&s.Nodes[i], s.Config.MaxPodsPerNode, member)
		byID[n.Node.ID] = n
		c.nodes = append(c.nodes, n)
	}
	slices.SortFunc(c.nodes, func(a, b *NodeInfo) int {
		return cmp.Or(cmp.Compare(a.Node.Name, b.Node.Name), cmp.Compare(a.Node.ID, b.Node.ID))
	})
	for i := range s.Pods {
		p := &s.Pods[i]
		switch {
		case p.Status == api.PodPending && p.StopRequestedAt == nil:
			c.pending = append(c.pending, PodInfo{Pod: p})
		case p.NodeID != nil && pod.HoldsNode(p.Status):
			if n := byID[*p.NodeID]; n != nil {
				n.Used = node.AddPod(n.Used, *p)
			}
		}
	}
	slices.SortFunc(c.pending, func(a, b PodInfo) int {
		return cmp.Or(
			cmp.Compare(b.Pod.Priority, a.Pod.Priority),
			a.Pod.CreatedAt.Compare(b.Pod.CreatedAt),
			cmp.Compare(a.Pod.ID, b.Pod.ID),
		)
	})
	return c
}

func newNodeInfo(n *api.Node, maxPods int, member map[[2]string]bool) *NodeInfo {
	info := &NodeInfo{Node: n, MaxPods: n.Allocatable.Pods}
	if maxPods > 0 {
		info.MaxPods = min(info.MaxPods, maxPods)
	}
	for _, t := range n.Taints {
		if t.Effect == api.PreferNoSchedule {
			info.softTaints = append(info.softTaints, t)
		} else {
			info.hardTaints = append(info.hardTaints, t)
		}
	}
	for _, ns := range n.Namespaces {
		if !n.Shared && member[[2]string{ns, n.RegisteredBy}] {
			if info.serves == nil {
				info.serves = map[string]struct{}{}
			}
			info.serves[ns] = struct{}{}
		}
	}
	return info
}

// toleratedBy reports whether any toleration lets a pod onto a taint.
func toleratedBy(tolerations []api.Toleration, t api.Taint) bool {
	for i := range tolerations {
		if tolerations[i].Tolerates(t) {
			return true
		}
	}
	return false
}
