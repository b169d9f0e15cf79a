package store_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestStatsCountWhatIsThere(t *testing.T) {
	t.Parallel()
	s := store.New()
	room := api.Capacity{CPU: 1000, Memory: 512}
	ask := api.Resources{CPU: 100, Memory: 64}
	s.Apply(store.Batch{
		Reset: true,
		Nodes: store.Changes[api.Node]{Put: []api.Node{
			{ID: "1", Status: api.NodeOnline, Allocatable: room},
			{ID: "2", Status: api.NodeDraining, Allocatable: room},
			{ID: "3", Status: api.NodeSuspect, Allocatable: room},
			{ID: "4", Status: api.NodeOffline, Allocatable: room},
		}},
		Pods: store.Changes[api.Pod]{Put: []api.Pod{
			{ID: "1", Status: api.PodRunning, NodeID: new("1"), ResourceRequests: ask},
			{ID: "2", Status: api.PodStopping, NodeID: new("1"), ResourceRequests: ask},
			{ID: "3", Status: api.PodPending, ResourceRequests: ask},
			{ID: "4", Status: api.PodFailed, NodeID: new("1"), ResourceRequests: ask},
		}},
		Packs:      store.Changes[api.Pack]{Put: []api.Pack{{ID: "1"}}},
		Namespaces: store.Changes[api.Namespace]{Put: []api.Namespace{{Name: "a"}, {Name: "b"}}},
	})
	want := api.ClusterStats{
		TotalNodes: 4, HealthyNodes: 1, UnhealthyNodes: 2, TotalPods: 3, RunningPods: 1, PendingPods: 1,
		TotalCPU: 2000, AllocatedCPU: 200, TotalMemory: 1024, AllocatedMemory: 128, NamespaceCount: 2, PackCount: 1,
	}
	if got := s.Stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
