package client

import (
	"context"
	"net/http"

	"github.com/stark-orchestrator/stark/shared/api"
)

// CreateNamespace makes a namespace.
func (c *Client) CreateNamespace(ctx context.Context, r api.CreateNamespaceRequest) (api.Namespace, error) {
	return c.namespace(ctx, call{method: http.MethodPost, path: []string{"api", "namespaces"}, once: true}.jsonBody(r))
}

// ListNamespaces lists namespaces by name.
func (c *Client) ListNamespaces(ctx context.Context, q api.NamespaceQuery) (api.Page[api.Namespace], error) {
	v := pageValues(q.PageQuery)
	set(v, "phase", string(q.Phase))
	set(v, "search", q.Search)
	set(v, "labelSelector", q.LabelSelector)
	var out struct {
		Namespaces            []api.Namespace `json:"namespaces"`
		Total, Page, PageSize int
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "namespaces"}, query: v}, &out)
	return api.Page[api.Namespace]{Items: out.Namespaces, Total: out.Total, Page: out.Page, PageSize: out.PageSize}, err
}

// GetNamespace gives one namespace by its id or name.
func (c *Client) GetNamespace(ctx context.Context, key string) (api.Namespace, error) {
	return c.namespace(ctx, call{method: http.MethodGet, path: []string{"api", "namespaces", key}})
}

// UpdateNamespace changes what the request names.
func (c *Client) UpdateNamespace(ctx context.Context, key string, r api.UpdateNamespaceRequest) (api.Namespace, error) {
	return c.namespace(ctx, call{method: http.MethodPatch, path: []string{"api", "namespaces", key}}.jsonBody(r))
}

// DeleteNamespace lets a namespace end. The phase is empty when it is gone already.
func (c *Client) DeleteNamespace(ctx context.Context, key string) (api.NamespacePhase, error) {
	var out struct {
		Phase api.NamespacePhase `json:"phase"`
	}
	err := c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "namespaces", key}}, &out)
	return out.Phase, err
}

// NamespaceQuota tells what a namespace may use and uses.
func (c *Client) NamespaceQuota(ctx context.Context, key string) (api.NamespaceQuota, error) {
	var out api.NamespaceQuota
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "namespaces", key, "quota"}}, &out)
	return out, err
}

// ListMembers lists the members of a namespace that the caller may see.
func (c *Client) ListMembers(ctx context.Context, key string) ([]api.NamespaceMember, error) {
	var out struct {
		Members []api.NamespaceMember `json:"members"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "namespaces", key, "members"}}, &out)
	return out.Members, err
}

// SetMember makes a user a member of a namespace, or changes their role there.
func (c *Client) SetMember(ctx context.Context, key, userID string, role api.Role) (api.NamespaceMember, error) {
	var out struct {
		Member api.NamespaceMember `json:"member"`
	}
	err := c.do(ctx, call{method: http.MethodPut, path: []string{"api", "namespaces", key, "members", userID}}.jsonBody(api.SetMemberRequest{Role: role}), &out)
	return out.Member, err
}

// RemoveMember ends a membership.
func (c *Client) RemoveMember(ctx context.Context, key, userID string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "namespaces", key, "members", userID}}, nil)
}

func (c *Client) namespace(ctx context.Context, k call) (api.Namespace, error) {
	var out struct {
		Namespace api.Namespace `json:"namespace"`
	}
	err := c.do(ctx, k, &out)
	return out.Namespace, err
}
