package client_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// data answers every call: each finds its part in it.
const data = `{"success":true,"data":{
	"user":{"id":"u"},"users":[{"id":"u"}],"count":1,"accessToken":"t","needsSetup":true,
	"pack":{"id":"k"},"packs":[{"id":"k"}],"versions":[{"id":"k"}],"total":7,"page":2,"pageSize":3,
	"node":{"id":"n"},"nodes":[{"id":"n"}],"token":{"id":"j"},"tokens":[{"id":"j"}],
	"pod":{"id":"p"},"pods":[{"id":"p"}],"podIds":["p"],"purged":true,"history":[{"id":"h"}],"runs":[{"podId":"p"}],"verdict":{"podId":"p"},
	"health":"healthy","url":"http://s/k","sha256":"f"
}}`

// TestCalls checks what each call sends, and that it finds its part of the answer.
func TestCalls(t *testing.T) {
	t.Parallel()
	page := api.PageQuery{Page: 2, PageSize: 3}
	type calls map[string]func(context.Context, *client.Client) (string, error)
	for want, call := range (calls{
		"POST /auth/register": func(ctx context.Context, c *client.Client) (string, error) {
			s, err := c.Register(ctx, api.RegisterRequest{})
			return s.AccessToken, err
		},
		"POST /auth/setup": func(ctx context.Context, c *client.Client) (string, error) {
			s, err := c.Setup(ctx, api.RegisterRequest{})
			return s.User.ID + s.AccessToken, err
		},
		"POST /api/pods/bulk": func(ctx context.Context, c *client.Client) (string, error) {
			ids, err := c.CreatePods(ctx, api.CreatePodsRequest{Items: []api.CreatePodRequest{{PackName: "hello"}}})
			return strings.Join(ids, ""), err
		},
		"POST /auth/refresh": func(ctx context.Context, c *client.Client) (string, error) {
			s, err := c.RefreshSession(ctx, "r")
			return s.AccessToken, err
		},
		"GET /auth/setup/status": func(ctx context.Context, c *client.Client) (string, error) {
			s, err := c.SetupStatus(ctx)
			return map[bool]string{true: "t"}[s.NeedsSetup], err
		},
		"POST /auth/logout": func(ctx context.Context, c *client.Client) (string, error) { return "t", c.Logout(ctx) },
		"GET /auth/me": func(ctx context.Context, c *client.Client) (string, error) {
			u, err := c.Whoami(ctx)
			return u.ID, err
		},
		"POST /auth/users": func(ctx context.Context, c *client.Client) (string, error) {
			u, err := c.CreateUser(ctx, api.CreateUserRequest{})
			return u.ID, err
		},
		"GET /auth/users/u": func(ctx context.Context, c *client.Client) (string, error) {
			u, err := c.GetUser(ctx, "u")
			return u.ID, err
		},
		"POST /auth/users/u/roles": func(ctx context.Context, c *client.Client) (string, error) {
			u, err := c.GrantRoles(ctx, "u", []api.Role{api.RoleViewer})
			return u.ID, err
		},
		"DELETE /auth/users/u/roles/admin": func(ctx context.Context, c *client.Client) (string, error) {
			u, err := c.RevokeRole(ctx, "u", api.RoleAdmin)
			return u.ID, err
		},
		"POST /auth/users/u/disable": func(ctx context.Context, c *client.Client) (string, error) {
			u, err := c.SetUserDisabled(ctx, "u", true)
			return u.ID, err
		},
		"POST /auth/users/u/enable": func(ctx context.Context, c *client.Client) (string, error) {
			u, err := c.SetUserDisabled(ctx, "u", false)
			return u.ID, err
		},
		"GET /auth/users?limit=5&offset=6&role=admin&search=a": func(ctx context.Context, c *client.Client) (string, error) {
			u, n, err := c.ListUsers(ctx, api.UserQuery{Role: api.RoleAdmin, Search: "a", Limit: 5, Offset: 6})
			return one(u, n == 1), err
		},
		"GET /api/packs?name=a&ownerId=o&page=2&pageSize=3&runtimeTag=node&search=s&version=1.0.0": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.ListPacks(ctx, api.PackQuery{PageQuery: page, RuntimeTag: api.TagNode, Search: "s", Name: "a", Version: "1.0.0", OwnerID: "o"})
			return one(p.Items, p.Total == 7 && p.Page == 2 && p.PageSize == 3), err
		},
		"GET /api/packs/k": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.GetPack(ctx, "k")
			return p.ID, err
		},
		"GET /api/packs/hello/versions": func(ctx context.Context, c *client.Client) (string, error) {
			v, err := c.PackVersions(ctx, "hello")
			return one(v, true), err
		},
		"PATCH /api/packs/k": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.UpdatePack(ctx, "k", api.UpdatePackRequest{Description: new("d")})
			return p.ID, err
		},
		"DELETE /api/packs/k": func(ctx context.Context, c *client.Client) (string, error) { return "k", c.DeletePack(ctx, "k") },
		"GET /api/packs/k/bundle": func(ctx context.Context, c *client.Client) (string, error) {
			b, err := c.PackBundle(ctx, "k")
			return b.SHA256, err
		},
		"POST /api/nodes": func(ctx context.Context, c *client.Client) (string, error) {
			n, err := c.CreateNode(ctx, api.RegisterNodeRequest{Name: "n"})
			return n.ID, err
		},
		"GET /api/nodes?labelSelector=a%3Db&page=2&pageSize=3&runtimeType=node&search=s&status=online": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.ListNodes(ctx, api.NodeQuery{PageQuery: page, RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Search: "s", LabelSelector: "a=b"})
			return one(p.Items, p.Total == 7 && p.Page == 2 && p.PageSize == 3), err
		},
		"GET /api/nodes/n": func(ctx context.Context, c *client.Client) (string, error) {
			n, err := c.GetNode(ctx, "n")
			return n.ID, err
		},
		"GET /api/nodes/name/n": func(ctx context.Context, c *client.Client) (string, error) {
			n, err := c.GetNodeByName(ctx, "n")
			return n.ID, err
		},
		"PATCH /api/nodes/n": func(ctx context.Context, c *client.Client) (string, error) {
			n, err := c.UpdateNode(ctx, "n", api.UpdateNodeRequest{Unschedulable: new(true)})
			return n.ID, err
		},
		"DELETE /api/nodes/n": func(ctx context.Context, c *client.Client) (string, error) { return "n", c.DeleteNode(ctx, "n") },
		"POST /api/nodes/n/credential/rotate": func(ctx context.Context, c *client.Client) (string, error) {
			return "n", c.RotateNodeCredential(ctx, "n")
		},
		"DELETE /api/nodes/n/credential": func(ctx context.Context, c *client.Client) (string, error) {
			return "n", c.RevokeNodeCredential(ctx, "n")
		},
		"POST /api/node-tokens": func(ctx context.Context, c *client.Client) (string, error) {
			j, err := c.CreateJoinToken(ctx, api.CreateJoinTokenRequest{Uses: 2})
			return j.ID, err
		},
		"GET /api/node-tokens": func(ctx context.Context, c *client.Client) (string, error) {
			j, err := c.ListJoinTokens(ctx)
			return one(j, true), err
		},
		"DELETE /api/node-tokens/j": func(ctx context.Context, c *client.Client) (string, error) { return "j", c.RevokeJoinToken(ctx, "j") },
		"POST /api/pods": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.CreatePod(ctx, api.CreatePodRequest{PackName: "hello"})
			return p.ID, err
		},
		"GET /api/pods?labelSelector=a&namespace=d&nodeId=n&packId=k&packName=h&page=2&pageSize=3&status=running": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.ListPods(ctx, api.PodQuery{PageQuery: page, Namespace: "d", PackID: "k", PackName: "h", NodeID: "n", Status: api.PodRunning, LabelSelector: "a"})
			return one(p.Items, p.Total == 7 && p.Page == 2 && p.PageSize == 3), err
		},
		"DELETE /api/pods/p": func(ctx context.Context, c *client.Client) (string, error) {
			p, purged, err := c.StopPod(ctx, "p")
			return map[bool]string{true: p.ID}[purged], err
		},
		"GET /api/pods/p/history?limit=5&offset=6": func(ctx context.Context, c *client.Client) (string, error) {
			h, err := c.PodHistory(ctx, "p", 5, 6)
			return one(h, true), err
		},
		"GET /api/pods/p/runs": func(ctx context.Context, c *client.Client) (string, error) {
			r, err := c.PodRuns(ctx, "p")
			return one(r, true), err
		},
		"GET /api/cluster/status": func(ctx context.Context, c *client.Client) (string, error) {
			st, err := c.ClusterStatus(ctx)
			return string(st.Health), err
		},
		"GET /api/pods/p/explain": func(ctx context.Context, c *client.Client) (string, error) {
			v, err := c.ExplainPod(ctx, "p")
			return v.PodID, err
		},
	}) {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := answering(t, http.StatusOK, data)
			found, err := call(t.Context(), s.client(t, client.StaticToken("t")))
			if err != nil || found == "" {
				t.Errorf("found %q in the answer, %v", found, err)
			}
			got := s.last(t)
			if got.method+" "+got.uri != want {
				t.Errorf("sent %s %s, want %s", got.method, got.uri, want)
			}
			bare := want == "POST /auth/logout" || strings.HasSuffix(want, "able") || strings.HasSuffix(want, "/rotate") // what they do stands in the path
			if (got.method == http.MethodPost || got.method == http.MethodPatch) && !bare {
				if body := decode[map[string]any](t, got.body); len(body) == 0 {
					t.Error("sent an empty body")
				}
			}
		})
	}
}

func one[T any](list []T, ok bool) string {
	if len(list) == 1 && ok {
		return "one"
	}
	return ""
}

func TestEmptyAnswers(t *testing.T) {
	t.Parallel()
	s := answering(t, http.StatusNoContent, "")
	if err := s.client(t, nil).DeletePack(t.Context(), "k"); err != nil {
		t.Errorf("204 gives %v, want no error", err)
	}
}
