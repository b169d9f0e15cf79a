package client

import (
	"context"
	"net/http"

	"github.com/stark-orchestrator/stark/shared/api"
)

type oneNode struct {
	Node api.Node `json:"node"`
}

// CreateNode registers a node without its agent.
func (c *Client) CreateNode(ctx context.Context, r api.RegisterNodeRequest) (api.Node, error) {
	return c.node(ctx, call{method: http.MethodPost, path: []string{"api", "nodes"}, once: true}.jsonBody(r))
}

// ListNodes lists nodes, newest first.
func (c *Client) ListNodes(ctx context.Context, q api.NodeQuery) (api.Page[api.Node], error) {
	v := pageValues(q.PageQuery)
	set(v, "runtimeType", string(q.RuntimeType))
	set(v, "status", string(q.Status))
	set(v, "search", q.Search)
	set(v, "labelSelector", q.LabelSelector)
	var out struct {
		Nodes                 []api.Node `json:"nodes"`
		Total, Page, PageSize int
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "nodes"}, query: v}, &out)
	return api.Page[api.Node]{Items: out.Nodes, Total: out.Total, Page: out.Page, PageSize: out.PageSize}, err
}

// GetNode gives one node by its id.
func (c *Client) GetNode(ctx context.Context, id string) (api.Node, error) {
	return c.node(ctx, call{method: http.MethodGet, path: []string{"api", "nodes", id}})
}

// GetNodeByName gives one node by its name.
func (c *Client) GetNodeByName(ctx context.Context, name string) (api.Node, error) {
	return c.node(ctx, call{method: http.MethodGet, path: []string{"api", "nodes", "name", name}})
}

// UpdateNode changes a node.
func (c *Client) UpdateNode(ctx context.Context, id string, r api.UpdateNodeRequest) (api.Node, error) {
	return c.node(ctx, call{method: http.MethodPatch, path: []string{"api", "nodes", id}}.jsonBody(r))
}

// DeleteNode removes a node.
func (c *Client) DeleteNode(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "nodes", id}}, nil)
}

func (c *Client) node(ctx context.Context, k call) (api.Node, error) {
	var out oneNode
	err := c.do(ctx, k, &out)
	return out.Node, err
}

// ClusterStatus is how the whole cluster is, as one server sees it.
type ClusterStatus struct {
	Health api.HealthStatus `json:"health"`
	Leader bool             `json:"leader"` // the server that answered leads
	Stale  bool             `json:"stale"`  // the database is away: the figures are from before
	Stats  api.ClusterStats `json:"stats"`
}

// ClusterStatus counts nodes and pods and judges the figures.
func (c *Client) ClusterStatus(ctx context.Context) (ClusterStatus, error) {
	var out ClusterStatus
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "cluster", "status"}}, &out)
	return out, err
}

// CreateJoinToken makes a join token; its secret is in this answer alone.
func (c *Client) CreateJoinToken(ctx context.Context, r api.CreateJoinTokenRequest) (api.JoinToken, error) {
	var out struct {
		Token api.JoinToken `json:"token"`
	}
	err := c.do(ctx, call{method: http.MethodPost, path: []string{"api", "node-tokens"}, once: true}.jsonBody(r), &out)
	return out.Token, err
}

// ListJoinTokens lists join tokens without their secrets.
func (c *Client) ListJoinTokens(ctx context.Context) ([]api.JoinToken, error) {
	var out struct {
		Tokens []api.JoinToken `json:"tokens"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "node-tokens"}}, &out)
	return out.Tokens, err
}

// RevokeJoinToken makes a join token useless.
func (c *Client) RevokeJoinToken(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "node-tokens", id}}, nil)
}

// RotateNodeCredential gives a node a new credential, at once or when it is back.
func (c *Client) RotateNodeCredential(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodPost, path: []string{"api", "nodes", id, "credential", "rotate"}, once: true}, nil)
}

// TakeNode makes the caller answer for a node.
func (c *Client) TakeNode(ctx context.Context, id string) (api.Node, error) {
	return c.node(ctx, call{method: http.MethodPost, path: []string{"api", "nodes", id, "take"}, once: true})
}

// RevokeNodeCredential ends the credential of a node and its connection.
func (c *Client) RevokeNodeCredential(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "nodes", id, "credential"}}, nil)
}
