package store

import (
	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Stats counts what the store holds now, in one pass over nodes and pods.
func (s *Store) Stats() api.ClusterStats {
	stats := api.ClusterStats{NamespaceCount: s.Namespaces.Snapshot().Len(), PackCount: s.Packs.Snapshot().Len()}
	for _, n := range s.Nodes.Snapshot().All() {
		stats.TotalNodes++
		switch n.Status {
		case api.NodeSuspect, api.NodeUnhealthy, api.NodeOffline:
			stats.UnhealthyNodes++
			continue
		case api.NodeOnline:
			stats.HealthyNodes++
		case api.NodeDraining, api.NodeMaintenance: // there on purpose: neither well nor ill
		}
		stats.TotalCPU += n.Allocatable.CPU
		stats.TotalMemory += n.Allocatable.Memory
	}
	for _, p := range s.Pods.Snapshot().All() {
		if p.Status.Terminal() {
			continue
		}
		stats.TotalPods++
		switch p.Status {
		case api.PodRunning:
			stats.RunningPods++
		case api.PodPending:
			stats.PendingPods++
		default:
		}
		if p.NodeID != nil && pod.HoldsNode(p.Status) {
			stats.AllocatedCPU += p.ResourceRequests.CPU
			stats.AllocatedMemory += p.ResourceRequests.Memory
		}
	}
	return stats
}
