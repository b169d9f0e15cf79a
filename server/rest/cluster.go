package rest

import (
	"context"
	"net/http"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// clusterStatus is the answer of GET /api/cluster/status. Its figures count what
// the caller may not see, too; they name nothing.
type clusterStatus struct {
	Health api.HealthStatus `json:"health"`
	Leader bool             `json:"leader" doc:"this server leads: it schedules and watches over nodes"`
	Stale  bool             `json:"stale" doc:"the database is away: the figures are from before"`
	Stats  api.ClusterStats `json:"stats"`
}

func (s *server) clusterRoutes() {
	register(s, operation{
		method: http.MethodGet, path: "/api/cluster/status", id: "clusterStatus", tag: "cluster", rule: may(access.Read, access.Node),
		summary: "How many nodes and pods there are and how they are",
	}, s.clusterStatus)
}

func (s *server) clusterStatus(context.Context, caller, *none) (clusterStatus, error) {
	stats := s.Store.Stats()
	leader := s.Leading != nil && s.Leading()
	return clusterStatus{Health: stats.Health(), Leader: leader, Stale: s.Store.Stale(), Stats: stats}, nil
}
