package node

import (
	"iter"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Allocated folds what the pods hold of each node, by node id. It is folded anew
// each time: a counter that is kept can be released twice.
func Allocated(pods iter.Seq[api.Pod]) map[string]api.Capacity {
	used := map[string]api.Capacity{}
	for p := range pods {
		if p.NodeID == nil || !pod.HoldsNode(p.Status) {
			continue
		}
		used[*p.NodeID] = AddPod(used[*p.NodeID], p)
	}
	return used
}

// AllocatedOf folds what the pods hold of one node.
func AllocatedOf(nodeID string, pods iter.Seq[api.Pod]) api.Capacity {
	var used api.Capacity
	for p := range pods {
		if p.NodeID != nil && *p.NodeID == nodeID && pod.HoldsNode(p.Status) {
			used = AddPod(used, p)
		}
	}
	return used
}

// AddPod adds what one live pod holds: twice what it asks for while another version of
// it runs beside the present one.
func AddPod(c api.Capacity, p api.Pod) api.Capacity {
	c = Add(c, p.ResourceRequests)
	if p.Rollout != nil {
		c = Add(c, p.ResourceRequests)
	}
	return c
}

// Add adds what one pod asks for.
func Add(c api.Capacity, r api.Resources) api.Capacity {
	return api.Capacity{CPU: c.CPU + r.CPU, Memory: c.Memory + r.Memory, Storage: c.Storage + r.Storage, Pods: c.Pods + 1}
}

// Free is what is left of a node; it may be below zero after its capacity shrank.
func Free(allocatable, allocated api.Capacity) api.Capacity {
	return api.Capacity{
		CPU: allocatable.CPU - allocated.CPU, Memory: allocatable.Memory - allocated.Memory,
		Storage: allocatable.Storage - allocated.Storage, Pods: allocatable.Pods - allocated.Pods,
	}
}
