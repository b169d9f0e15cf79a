package scheduler

import (
	"fmt"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Refusal is why a filter ruled a node out. Asked and Free are set where the
// filter compares amounts.
type Refusal struct {
	Message string // reads after a count: "node(s) were unschedulable"
	Asked   int64
	Free    int64
}

// Filter rules nodes out for a pod. It looks at nothing but its arguments and
// keeps nothing. Fits is called for every pod and node and must be cheap and
// allocate nothing; Explain is called where Fits said no.
type Filter interface {
	Name() string
	Fits(p *PodInfo, n *NodeInfo) bool
	Explain(p *PodInfo, n *NodeInfo) Refusal
}

// filter makes a Filter of two functions.
type filter struct {
	name    string
	fits    func(p *PodInfo, n *NodeInfo) bool
	explain func(p *PodInfo, n *NodeInfo) Refusal
}

func (f filter) Name() string                            { return f.name }
func (f filter) Fits(p *PodInfo, n *NodeInfo) bool       { return f.fits(p, n) }
func (f filter) Explain(p *PodInfo, n *NodeInfo) Refusal { return f.explain(p, n) }

func saying(message string) func(*PodInfo, *NodeInfo) Refusal {
	return func(*PodInfo, *NodeInfo) Refusal { return Refusal{Message: message} }
}

// kindFilters look at what a node is; they come first, and no event but a change
// of the node helps a pod past them.
func kindFilters() []Filter {
	return []Filter{
		filter{
			name:    "Runtime",
			fits:    func(p *PodInfo, n *NodeInfo) bool { return p.Pod.RuntimeTag.Fits(n.Node.RuntimeType) },
			explain: saying("node(s) had another runtime than the pack needs"),
		},
		filter{name: "NodeAccess", fits: serves, explain: saying("node(s) did not serve the pod's owner or namespace")},
		filter{name: "NodeName", fits: named, explain: saying("node(s) did not match the requested node name")},
		filter{name: "NodeReady", fits: ready, explain: notReady},
		filter{
			name:    "Unschedulable",
			fits:    func(_ *PodInfo, n *NodeInfo) bool { return !n.Node.Unschedulable },
			explain: saying("node(s) were unschedulable"),
		},
		filter{name: "Taints", fits: tolerates, explain: untolerated},
		filter{name: "NodeSelector", fits: selected, explain: saying("node(s) did not match the pod's node selector")},
		filter{name: "NodeAffinity", fits: near, explain: saying("node(s) did not match the pod's node affinity")},
	}
}

// roomFilters compare what a pod asks for with what is free; they come last.
func roomFilters() []Filter {
	return []Filter{
		room("CPU", "Insufficient cpu", func(p *PodInfo, n *NodeInfo) (int64, int64) {
			return int64(p.Pod.ResourceRequests.CPU), int64(n.Node.Allocatable.CPU - n.Used.CPU)
		}),
		room("Memory", "Insufficient memory", func(p *PodInfo, n *NodeInfo) (int64, int64) {
			return int64(p.Pod.ResourceRequests.Memory), int64(n.Node.Allocatable.Memory - n.Used.Memory)
		}),
		room("Storage", "Insufficient storage", func(p *PodInfo, n *NodeInfo) (int64, int64) {
			return int64(p.Pod.ResourceRequests.Storage), int64(n.Node.Allocatable.Storage - n.Used.Storage)
		}),
		room("Pods", "Too many pods", func(_ *PodInfo, n *NodeInfo) (int64, int64) {
			return 1, int64(n.MaxPods - n.Used.Pods)
		}),
	}
}

// room makes the filter of one amount; a pod that asks for nothing always fits.
func room(name, message string, amounts func(p *PodInfo, n *NodeInfo) (asked, free int64)) Filter {
	return filter{
		name: name,
		fits: func(p *PodInfo, n *NodeInfo) bool {
			asked, free := amounts(p, n)
			return asked <= 0 || asked <= free
		},
		explain: func(p *PodInfo, n *NodeInfo) Refusal {
			asked, free := amounts(p, n)
			return Refusal{Message: message, Asked: asked, Free: max(free, 0)}
		},
	}
}

func serves(p *PodInfo, n *NodeInfo) bool {
	if n.Node.Shared || n.Node.RegisteredBy != "" && n.Node.RegisteredBy == p.Pod.CreatedBy {
		return true
	}
	_, ok := n.serves[p.Pod.Namespace]
	return ok
}

func named(p *PodInfo, n *NodeInfo) bool {
	want := p.Pod.Scheduling.NodeName
	return want == "" || want == n.Node.Name
}

func ready(_ *PodInfo, n *NodeInfo) bool { return node.Ready(n.Node.Status) }

func notReady(_ *PodInfo, n *NodeInfo) Refusal {
	switch n.Node.Status {
	case api.NodeDraining:
		return Refusal{Message: "node(s) were draining"}
	case api.NodeMaintenance:
		return Refusal{Message: "node(s) were in maintenance"}
	case api.NodeOffline:
		return Refusal{Message: "node(s) were offline"}
	default:
		return Refusal{Message: "node(s) were not ready"}
	}
}

func tolerates(p *PodInfo, n *NodeInfo) bool {
	for i := range n.hardTaints {
		if !toleratedBy(p.Pod.Tolerations, n.hardTaints[i]) {
			return false
		}
	}
	return true
}

func untolerated(p *PodInfo, n *NodeInfo) Refusal {
	for _, t := range n.hardTaints {
		if !toleratedBy(p.Pod.Tolerations, t) {
			return Refusal{Message: fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value)}
		}
	}
	return Refusal{Message: "node(s) had untolerated taints"}
}

func selected(p *PodInfo, n *NodeInfo) bool {
	return api.MatchesLabels(p.Pod.Scheduling.NodeSelector, n.Node.Labels)
}

func near(p *PodInfo, n *NodeInfo) bool {
	a := p.Pod.Scheduling.NodeAffinity
	return a == nil || a.Required == nil || a.Required.Matches(n.Node.Name, n.Node.Labels)
}
