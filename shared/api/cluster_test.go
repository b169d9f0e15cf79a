package api_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestClusterHealth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stats api.ClusterStats
		want  api.HealthStatus
	}{
		{api.ClusterStats{}, api.ClusterHealthy},
		{api.ClusterStats{PendingPods: 5}, api.ClusterHealthy},
		{api.ClusterStats{TotalNodes: 10, HealthyNodes: 10, RunningPods: 20, PendingPods: 2}, api.ClusterHealthy},
		{api.ClusterStats{TotalNodes: 10, HealthyNodes: 10, RunningPods: 20, PendingPods: 3}, api.ClusterDegraded},
		{api.ClusterStats{TotalNodes: 10, HealthyNodes: 8}, api.ClusterHealthy},
		{api.ClusterStats{TotalNodes: 10, HealthyNodes: 7}, api.ClusterDegraded},
		{api.ClusterStats{TotalNodes: 10, HealthyNodes: 5}, api.ClusterDegraded},
		{api.ClusterStats{TotalNodes: 10, HealthyNodes: 4}, api.ClusterCritical},
	} {
		if got := c.stats.Health(); got != c.want {
			t.Errorf("%+v is %s, want %s", c.stats, got, c.want)
		}
	}
}
