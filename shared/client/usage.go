package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/stark-orchestrator/stark/shared/api"
)

// PodUsage tells what running pods use now, newest first, at most api.MaxFigures.
func (c *Client) PodUsage(ctx context.Context, q api.UsageQuery) ([]api.PodFigures, error) {
	var out struct {
		Pods []api.PodFigures `json:"pods"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "usage", "pods"}, query: usageValues(q)}, &out)
	return out.Pods, err
}

// NodeUsage tells what the machines of nodes use now, by name, at most api.MaxFigures.
// Namespace and pod of the query mean nothing here.
func (c *Client) NodeUsage(ctx context.Context, q api.UsageQuery) ([]api.NodeFigures, error) {
	var out struct {
		Nodes []api.NodeFigures `json:"nodes"`
	}
	q.Namespace, q.PodID = "", ""
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "usage", "nodes"}, query: usageValues(q)}, &out)
	return out.Nodes, err
}

func usageValues(q api.UsageQuery) url.Values {
	v := url.Values{}
	set(v, "namespace", q.Namespace)
	set(v, "podId", q.PodID)
	set(v, "nodeId", q.NodeID)
	set(v, "labelSelector", q.LabelSelector)
	return v
}
