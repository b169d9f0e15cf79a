package rest

import (
	"context"
	"net/http"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

type podUsageInput struct {
	Namespace     string `query:"namespace"`
	PodID         string `query:"podId"`
	NodeID        string `query:"nodeId"`
	LabelSelector string `query:"labelSelector" doc:"as in Kubernetes"`
}

type nodeUsageInput struct {
	NodeID        string `query:"nodeId"`
	LabelSelector string `query:"labelSelector" doc:"as in Kubernetes"`
}

type podUsage struct {
	Pods []api.PodFigures `json:"pods" doc:"those that run, newest first, at most 1000"`
}

type nodeUsage struct {
	Nodes []api.NodeFigures `json:"nodes" doc:"those that are there, by name, at most 1000"`
}

func (s *server) usageRoutes() {
	register(s, operation{
		method: http.MethodGet, path: "/api/usage/pods", id: "podUsage", tag: "pods", rule: may(access.Read, access.Pod),
		summary: "What running pods use now, beside what they asked for",
	}, s.podUsage)
	register(s, operation{
		method: http.MethodGet, path: "/api/usage/nodes", id: "nodeUsage", tag: "nodes", rule: may(access.Read, access.Node),
		summary: "What the machines of nodes use now, beside what they give to pods",
	}, s.nodeUsage)
}

func (s *server) podUsage(ctx context.Context, who caller, in *podUsageInput) (podUsage, error) {
	q := api.UsageQuery{Namespace: in.Namespace, PodID: in.PodID, NodeID: in.NodeID, LabelSelector: in.LabelSelector}
	if err := q.Validate(); err != nil {
		return podUsage{}, err
	}
	found, err := s.DB.PodUsage(ctx, who.Identity, q)
	return podUsage{Pods: emptyIfNil(found)}, err
}

func (s *server) nodeUsage(ctx context.Context, who caller, in *nodeUsageInput) (nodeUsage, error) {
	q := api.UsageQuery{NodeID: in.NodeID, LabelSelector: in.LabelSelector}
	if err := q.Validate(); err != nil {
		return nodeUsage{}, err
	}
	found, err := s.DB.NodeUsage(ctx, who.Identity, q)
	return nodeUsage{Nodes: emptyIfNil(found)}, err
}
