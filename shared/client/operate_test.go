package client_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

const operateData = `{"success":true,"data":{
	"namespace":{"id":"ns"},"namespaces":[{"id":"ns"}],"phase":"terminating","member":{"userId":"u"},"members":[{"userId":"u"}],
	"priorityClass":{"name":"high"},"priorityClasses":[{"name":"high"}],"config":{"id":"default"},
	"node":{"id":"n"},"nodeId":"n","total":7,"page":2,"pageSize":3,
	"pods":[{"podId":"p"}],"nodes":[{"nodeId":"n"}],
	"events":[{"id":"e","kind":"pod"}],"now":"2026-05-01T12:00:00Z"
}}`

// TestCallsOfOperators is TestCalls for namespaces, classes, settings, drains and events.
func TestCallsOfOperators(t *testing.T) {
	t.Parallel()
	type calls map[string]func(context.Context, *client.Client) (string, error)
	for want, call := range (calls{
		"GET /api/usage/pods?labelSelector=a%3Db&namespace=x&nodeId=n&podId=p": func(ctx context.Context, c *client.Client) (string, error) {
			list, err := c.PodUsage(ctx, api.UsageQuery{Namespace: "x", PodID: "p", NodeID: "n", LabelSelector: "a=b"})
			return one(list, list[0].PodID == "p"), err
		},
		"GET /api/usage/nodes?labelSelector=a%3Db&nodeId=n": func(ctx context.Context, c *client.Client) (string, error) {
			list, err := c.NodeUsage(ctx, api.UsageQuery{Namespace: "x", PodID: "p", NodeID: "n", LabelSelector: "a=b"})
			return one(list, list[0].NodeID == "n"), err
		},
		"POST /api/namespaces": func(ctx context.Context, c *client.Client) (string, error) {
			n, err := c.CreateNamespace(ctx, api.CreateNamespaceRequest{})
			return n.ID, err
		},
		"GET /api/namespaces?labelSelector=a%3Db&page=2&pageSize=3&phase=active&search=x": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.ListNamespaces(ctx, api.NamespaceQuery{
				PageQuery: api.PageQuery{Page: 2, PageSize: 3}, Phase: api.NamespaceActive, Search: "x", LabelSelector: "a=b",
			})
			return one(p.Items, p.Total == 7 && p.Page == 2 && p.PageSize == 3), err
		},
		"GET /api/namespaces/team-a": func(ctx context.Context, c *client.Client) (string, error) {
			n, err := c.GetNamespace(ctx, "team-a")
			return n.ID, err
		},
		"PATCH /api/namespaces/team-a": func(ctx context.Context, c *client.Client) (string, error) {
			n, err := c.UpdateNamespace(ctx, "team-a", api.UpdateNamespaceRequest{})
			return n.ID, err
		},
		"DELETE /api/namespaces/team-a": func(ctx context.Context, c *client.Client) (string, error) {
			phase, err := c.DeleteNamespace(ctx, "team-a")
			return string(phase), err
		},
		"GET /api/namespaces/team-a/quota": func(ctx context.Context, c *client.Client) (string, error) {
			_, err := c.NamespaceQuota(ctx, "team-a")
			return "done", err
		},
		"GET /api/namespaces/team-a/members": func(ctx context.Context, c *client.Client) (string, error) {
			m, err := c.ListMembers(ctx, "team-a")
			return one(m, true), err
		},
		"PUT /api/namespaces/team-a/members/u": func(ctx context.Context, c *client.Client) (string, error) {
			m, err := c.SetMember(ctx, "team-a", "u", api.RoleDeveloper)
			return m.UserID, err
		},
		"DELETE /api/namespaces/team-a/members/u": func(ctx context.Context, c *client.Client) (string, error) {
			return "done", c.RemoveMember(ctx, "team-a", "u")
		},
		"GET /api/priority-classes": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.ListPriorityClasses(ctx)
			return one(p, true), err
		},
		"GET /api/priority-classes/high": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.GetPriorityClass(ctx, "high")
			return p.Name, err
		},
		"POST /api/priority-classes": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.CreatePriorityClass(ctx, api.PriorityClass{Name: "high"})
			return p.Name, err
		},
		"PATCH /api/priority-classes/high": func(ctx context.Context, c *client.Client) (string, error) {
			p, err := c.UpdatePriorityClass(ctx, "high", api.UpdatePriorityClassRequest{})
			return p.Name, err
		},
		"DELETE /api/priority-classes/high": func(ctx context.Context, c *client.Client) (string, error) {
			return "done", c.DeletePriorityClass(ctx, "high")
		},
		"GET /api/cluster/config": func(ctx context.Context, c *client.Client) (string, error) {
			_, err := c.ClusterConfig(ctx)
			return "done", err
		},
		"PATCH /api/cluster/config": func(ctx context.Context, c *client.Client) (string, error) {
			_, err := c.UpdateClusterConfig(ctx, api.UpdateClusterConfigRequest{})
			return "done", err
		},
		"POST /api/nodes/n/drain": func(ctx context.Context, c *client.Client) (string, error) {
			n, err := c.DrainNode(ctx, "n", api.DrainNodeRequest{})
			return n.ID, err
		},
		"GET /api/nodes/n/drain": func(ctx context.Context, c *client.Client) (string, error) {
			d, err := c.GetDrain(ctx, "n")
			return d.NodeID, err
		},
		"DELETE /api/nodes/n/drain": func(ctx context.Context, c *client.Client) (string, error) {
			n, err := c.CancelDrain(ctx, "n")
			return n.ID, err
		},
		"GET /api/events?kind=pod&limit=5&namespace=team-a&objectId=p&oldest=true&since=2026-05-01T11%3A00%3A00Z": func(ctx context.Context, c *client.Client) (string, error) {
			e, err := c.Events(ctx, api.EventQuery{
				Kind: api.EventPod, ObjectID: "p", Namespace: "team-a", Limit: 5, Oldest: true, Since: time.Date(2026, 5, 1, 11, 0, 0, 0, time.UTC),
			})
			return one(e, true), err
		},
	}) {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := answering(t, http.StatusOK, operateData)
			found, err := call(t.Context(), s.client(t, client.StaticToken("t")))
			if err != nil || found == "" {
				t.Errorf("found %q in the answer, %v", found, err)
			}
			if got := s.last(t); got.method+" "+got.uri != want {
				t.Errorf("sent %s %s, want %s", got.method, got.uri, want)
			}
		})
	}
}

// A watch of events asks again from before the last answer, tells each event once, and
// ends with an answer that fails.
func TestWatchedEventsAreToldOnce(t *testing.T) {
	t.Parallel()
	answers := make(chan string, 3)
	answers <- `{"success":true,"data":{"now":"2026-05-01T12:00:00Z","events":[{"id":"a","time":"2026-05-01T11:59:58Z"},{"id":"b","time":"2026-05-01T11:59:59Z"}]}}`
	answers <- `{"success":true,"data":{"now":"2026-05-01T12:00:01Z","events":[{"id":"b","time":"2026-05-01T11:59:59Z"},{"id":"c","time":"2026-05-01T12:00:00Z"}]}}`
	answers <- `{"success":false,"error":{"code":"FORBIDDEN","message":"no"}}`
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		body := <-answers
		if len(answers) == 0 {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = w.Write([]byte(body))
	})
	told, failed := "", error(nil)
	for e, err := range s.client(t, client.StaticToken("t")).WatchEvents(t.Context(), api.EventQuery{}) {
		told, failed = told+e.ID, err
	}
	if told != "abc" || failed == nil {
		t.Errorf("told %q and ended with %v, want abc and a refusal", told, failed)
	}
	if got, want := s.last(t).uri, "/api/events?limit=1000&oldest=true&since=2026-05-01T11%3A59%3A31Z"; got != want {
		t.Errorf("asked %s at last, want %s", got, want)
	}
}
