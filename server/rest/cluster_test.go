package rest_test

import (
	"net/http"
	"testing"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestClusterStatus(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.model.Apply(store.Batch{
		Nodes: store.Changes[api.Node]{Put: []api.Node{{ID: someID, Status: api.NodeOnline}, {ID: otherID, Status: api.NodeOffline}}},
		Pods:  store.Changes[api.Pod]{Put: []api.Pod{{ID: someID, Status: api.PodRunning}}},
	})
	var got struct {
		Health        api.HealthStatus
		Leader, Stale bool
		Stats         api.ClusterStats
	}
	h.do(request{method: "GET", path: "/api/cluster/status", token: "good-viewer"}).want(http.StatusOK, &got)
	if got.Health != api.ClusterDegraded || got.Stats.TotalNodes != 2 || got.Stats.RunningPods != 1 || got.Leader || got.Stale {
		t.Errorf("got %+v", got)
	}
	h.model.SetStale(true)
	h.do(request{method: "GET", path: "/api/cluster/status", token: "good-viewer"}).want(http.StatusOK, &got)
	if !got.Stale {
		t.Error("the figures are from before, and it does not say so")
	}
}
