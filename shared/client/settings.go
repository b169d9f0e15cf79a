package client

import (
	"context"
	"net/http"

	"github.com/stark-orchestrator/stark/shared/api"
)

// ListPriorityClasses lists priority classes, the highest first.
func (c *Client) ListPriorityClasses(ctx context.Context) ([]api.PriorityClass, error) {
	var out struct {
		PriorityClasses []api.PriorityClass `json:"priorityClasses"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "priority-classes"}}, &out)
	return out.PriorityClasses, err
}

// GetPriorityClass gives one priority class.
func (c *Client) GetPriorityClass(ctx context.Context, name string) (api.PriorityClass, error) {
	return c.priorityClass(ctx, call{method: http.MethodGet, path: []string{"api", "priority-classes", name}})
}

// CreatePriorityClass makes a priority class.
func (c *Client) CreatePriorityClass(ctx context.Context, p api.PriorityClass) (api.PriorityClass, error) {
	return c.priorityClass(ctx, call{method: http.MethodPost, path: []string{"api", "priority-classes"}, once: true}.jsonBody(p))
}

// UpdatePriorityClass changes what the request names.
func (c *Client) UpdatePriorityClass(ctx context.Context, name string, r api.UpdatePriorityClassRequest) (api.PriorityClass, error) {
	return c.priorityClass(ctx, call{method: http.MethodPatch, path: []string{"api", "priority-classes", name}}.jsonBody(r))
}

// DeletePriorityClass removes a priority class that no live pod has.
func (c *Client) DeletePriorityClass(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "priority-classes", name}}, nil)
}

func (c *Client) priorityClass(ctx context.Context, k call) (api.PriorityClass, error) {
	var out struct {
		PriorityClass api.PriorityClass `json:"priorityClass"`
	}
	err := c.do(ctx, k, &out)
	return out.PriorityClass, err
}

// ClusterConfig gives the settings of the cluster.
func (c *Client) ClusterConfig(ctx context.Context) (api.ClusterConfig, error) {
	return c.clusterConfig(ctx, call{method: http.MethodGet, path: []string{"api", "cluster", "config"}})
}

// UpdateClusterConfig changes the settings that the request names.
func (c *Client) UpdateClusterConfig(ctx context.Context, r api.UpdateClusterConfigRequest) (api.ClusterConfig, error) {
	return c.clusterConfig(ctx, call{method: http.MethodPatch, path: []string{"api", "cluster", "config"}}.jsonBody(r))
}

func (c *Client) clusterConfig(ctx context.Context, k call) (api.ClusterConfig, error) {
	var out struct {
		Config api.ClusterConfig `json:"config"`
	}
	err := c.do(ctx, k, &out)
	return out.Config, err
}

// Drain is how far a node has been emptied, and what keeps it.
type Drain struct {
	NodeID  string           `json:"nodeId"`
	Drain   *api.NodeDrain   `json:"drain"`   // nil when the node was never drained, or was uncordoned since
	Blocked []api.DrainBlock `json:"blocked"` // of the pods that the caller sees
}

// DrainNode cordons a node and lets the cluster empty it.
func (c *Client) DrainNode(ctx context.Context, id string, r api.DrainNodeRequest) (api.Node, error) {
	return c.node(ctx, call{method: http.MethodPost, path: []string{"api", "nodes", id, "drain"}}.jsonBody(r))
}

// GetDrain tells how far a drain is.
func (c *Client) GetDrain(ctx context.Context, id string) (Drain, error) {
	var out Drain
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "nodes", id, "drain"}}, &out)
	return out, err
}

// CancelDrain cancels a drain; the node stays cordoned.
func (c *Client) CancelDrain(ctx context.Context, id string) (api.Node, error) {
	return c.node(ctx, call{method: http.MethodDelete, path: []string{"api", "nodes", id, "drain"}})
}
