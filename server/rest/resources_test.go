package rest_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func notFound() error { return fault.New(fault.NotFound, "there is no such thing") }

func TestNodes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	node := api.Node{ID: someID, Name: "n1", RuntimeType: api.RuntimeNode, Status: api.NodeOnline, CreatedAt: someTime(), UpdatedAt: someTime()}
	var one struct{ Node api.Node }
	h.db.createNode = func(id access.Identity, r api.RegisterNodeRequest) (api.Node, error) {
		if r.Name == "taken" {
			return api.Node{}, fault.New(fault.Conflict, "the name is taken")
		}
		if id.UserID != userIDOf("developer") || *r.Allocatable != (api.Capacity{CPU: 2000, Memory: 1024, Pods: 5}) {
			t.Errorf("got %+v from %s", r.Allocatable, id.UserID)
		}
		return node, nil
	}
	body := map[string]any{"name": "n1", "runtimeType": "node", "allocatable": map[string]any{"cpu": "2", "memory": "1Gi", "pods": 5}}
	h.do(request{method: "POST", path: "/api/nodes", token: "good-developer", body: body}).want(http.StatusCreated, &one)
	if one.Node.Labels == nil || one.Node.Taints == nil {
		t.Error("empty collections are null")
	}
	h.do(request{method: "POST", path: "/api/nodes", token: "good-developer", body: map[string]any{"name": "taken", "runtimeType": "node"}}).
		fails(http.StatusConflict, fault.Conflict)
	b := h.do(request{method: "POST", path: "/api/nodes", token: "good-developer", body: map[string]any{"name": "1x", "runtimeType": "deno", "labels": map[string]string{"bad key": "v"}}}).
		fails(http.StatusBadRequest, fault.Validation)
	field(t, b, "name")
	field(t, b, "runtimeType")
	field(t, b, "labels.bad key")

	var q api.NodeQuery
	h.db.listNodes = func(_ access.Identity, got api.NodeQuery) (api.Page[api.Node], error) {
		q = got
		return api.Page[api.Node]{Items: []api.Node{node}, Total: 41, Page: 2, PageSize: 100}, nil
	}
	var list struct {
		Nodes                 []api.Node
		Total, Page, PageSize int
	}
	h.do(request{method: "GET", path: "/api/nodes?page=2&pageSize=1000&runtimeType=browser&runtime=node&status=online&search=n&labelSelector=a%3Db", token: "good-viewer"}).
		want(http.StatusOK, &list)
	if list.Total != 41 || list.Page != 2 || list.PageSize != 100 || q.RuntimeType != api.RuntimeNode || q.LabelSelector != "a=b" {
		t.Errorf("got %+v for %+v", list, q)
	}
	h.db.getNode = func(_ access.Identity, id string) (api.Node, error) {
		if id != someID {
			return api.Node{}, notFound()
		}
		return node, nil
	}
	h.db.getNodeByName = func(_ access.Identity, name string) (api.Node, error) {
		if name != "n1" {
			return api.Node{}, notFound()
		}
		return node, nil
	}
	h.model.Apply(store.Batch{Pods: store.Changes[api.Pod]{Put: []api.Pod{
		{ID: "1", NodeID: new(someID), Status: api.PodRunning, ResourceRequests: api.Resources{CPU: 100, Memory: 64}},
		{ID: "2", NodeID: new(someID), Status: api.PodStopping, ResourceRequests: api.Resources{CPU: 50, Memory: 1}},
		{ID: "3", NodeID: new(someID), Status: api.PodFailed, ResourceRequests: api.Resources{CPU: 1000}},
		{ID: "4", NodeID: new(otherID), Status: api.PodRunning, ResourceRequests: api.Resources{CPU: 1000}},
	}}})
	h.do(request{method: "GET", path: "/api/nodes/" + someID, token: "good-viewer"}).want(http.StatusOK, &one)
	if want := (api.Capacity{CPU: 150, Memory: 65, Pods: 2}); one.Node.Allocated != want {
		t.Errorf("allocated %+v, want %+v", one.Node.Allocated, want)
	}
	h.do(request{method: "GET", path: "/api/nodes/name/n1", token: "good-viewer"}).want(http.StatusOK, &one)
	h.do(request{method: "GET", path: "/api/nodes/" + otherID, token: "good-viewer"}).fails(http.StatusNotFound, fault.NotFound)
	h.do(request{method: "GET", path: "/api/nodes/name/n2", token: "good-viewer"}).fails(http.StatusNotFound, fault.NotFound)
	h.db.updateNode = func(_ access.Identity, _ string, r api.UpdateNodeRequest) (api.Node, error) {
		node.Unschedulable = *r.Unschedulable
		return node, nil
	}
	h.do(request{method: "PATCH", path: "/api/nodes/" + someID, token: "good-operator", body: map[string]any{"unschedulable": true}}).want(http.StatusOK, &one)
	if !one.Node.Unschedulable {
		t.Error("not cordoned")
	}
	h.do(request{method: "PATCH", path: "/api/nodes/" + someID, token: "good-operator", body: map[string]any{"unschedulable": "yes"}}).
		fails(http.StatusBadRequest, fault.Validation)
	h.db.deleteNode = func(_ access.Identity, id string) error {
		if id == otherID {
			return fault.New(fault.Forbidden, "not yours")
		}
		return nil
	}
	h.do(request{method: "DELETE", path: "/api/nodes/" + someID, token: "good-operator"}).want(http.StatusOK, nil)
	h.do(request{method: "DELETE", path: "/api/nodes/" + otherID, token: "good-developer"}).fails(http.StatusForbidden, fault.Forbidden)
}

func TestNodeTokens(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	token := api.JoinToken{ID: someID, Token: api.JoinTokenPrefix + "abc", Uses: 1, CreatedBy: userID, CreatedAt: someTime(), ExpiresAt: someTime()}
	h.db.createJoinToken = func(_ access.Identity, r api.CreateJoinTokenRequest) (api.JoinToken, error) {
		if r.TTLSeconds != 3600 || r.Uses != 3 {
			t.Errorf("got %+v", r)
		}
		return token, nil
	}
	var one struct{ Token api.JoinToken }
	h.do(request{method: "POST", path: "/api/node-tokens", token: "good-developer", body: map[string]any{"uses": 3}}).want(http.StatusCreated, &one)
	if one.Token.Token == "" {
		t.Error("the secret is not shown once")
	}
	h.do(request{method: "POST", path: "/api/node-tokens", token: "good-developer", body: map[string]any{"ttlSeconds": 5}}).fails(http.StatusBadRequest, fault.Validation)
	h.db.listJoinTokens = func(access.Identity) ([]api.JoinToken, error) { return []api.JoinToken{token}, nil }
	var list struct{ Tokens []api.JoinToken }
	h.do(request{method: "GET", path: "/api/node-tokens", token: "good-developer"}).want(http.StatusOK, &list)
	if len(list.Tokens) != 1 || list.Tokens[0].Token != "" {
		t.Errorf("the list shows secrets: %+v", list)
	}
	h.db.revokeJoinToken = func(_ access.Identity, id string) error {
		if id != someID {
			return notFound()
		}
		return nil
	}
	h.do(request{method: "DELETE", path: "/api/node-tokens/" + someID, token: "good-developer"}).want(http.StatusOK, nil)
	h.do(request{method: "DELETE", path: "/api/node-tokens/" + otherID, token: "good-developer"}).fails(http.StatusNotFound, fault.NotFound)
	if s := h.logs.String(); len(s) == 0 {
		t.Error("nothing was logged")
	}
}

func somePod() api.Pod {
	node := otherID
	return api.Pod{
		ID: someID, PackID: otherID, PackName: "hello", PackVersion: "1.0.0", RuntimeTag: api.TagNode, NodeID: &node, Status: api.PodRunning,
		Namespace: "default", RestartPolicy: api.RestartOnFailure, Isolation: api.IsolationProcess, CreatedBy: userID,
		CreatedAt: someTime(), UpdatedAt: someTime(), Incarnation: 1, TerminationGracePeriodSeconds: 30,
	}
}

func TestPods(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var got api.CreatePodRequest
	h.db.createPod = func(_ context.Context, _ access.Identity, r api.CreatePodRequest) (api.Pod, error) {
		got = r
		switch r.Namespace {
		case "full":
			e := fault.New(fault.QuotaExceeded, "the namespace has no room")
			e.Details = map[string]any{"pods": 3}
			return api.Pod{}, e
		case "ending":
			return api.Pod{}, fault.New(fault.NamespaceTerminating, "the namespace ends")
		case "broken":
			return api.Pod{}, context.DeadlineExceeded
		}
		return somePod(), nil
	}
	var one struct{ Pod api.Pod }
	h.do(request{method: "POST", path: "/api/pods", token: "good-developer", body: map[string]any{
		"packName": "hello", "resourceLimits": map[string]any{"cpu": "500m", "memory": "1Gi"}, "labels": map[string]string{"app": "x"},
	}}).want(http.StatusCreated, &one)
	if *got.ResourceLimits.CPU != 500 || *got.ResourceLimits.Memory != 1024 || one.Pod.Tolerations == nil {
		t.Errorf("got %+v, answer %+v", got.ResourceLimits, one.Pod)
	}
	create := func(ns string) reply {
		return h.do(request{method: "POST", path: "/api/pods", token: "good-developer", body: map[string]any{"packName": "hello", "namespace": ns}})
	}
	create("full").fails(http.StatusForbidden, fault.QuotaExceeded)
	create("ending").fails(http.StatusConflict, fault.NamespaceTerminating)
	create("broken").fails(http.StatusGatewayTimeout, fault.Timeout)
	b := h.do(request{method: "POST", path: "/api/pods", token: "good-developer", body: map[string]any{
		"packId": "x", "resourceLimits": map[string]any{"memory": "1Qx"}, "restartPolicy": "Sometimes",
	}}).fails(http.StatusBadRequest, fault.Validation)
	if len(b.Details) == 0 {
		t.Error("no field is named")
	}
	var q api.PodQuery
	h.db.listPods = func(_ access.Identity, got api.PodQuery) (api.Page[api.Pod], error) {
		q = got
		return api.Page[api.Pod]{Items: []api.Pod{somePod()}, Total: 1}, nil
	}
	var list struct {
		Pods                  []api.Pod
		Total, Page, PageSize int
	}
	h.do(request{method: "GET", path: "/api/pods?page=-3&pageSize=0&namespace=default&status=running&packName=hello&labelSelector=app%20in%20(x,y)", token: "good-viewer"}).
		want(http.StatusOK, &list)
	if list.Page != 1 || list.PageSize != 20 || q.Status != api.PodRunning || q.LabelSelector != "app in (x,y)" {
		t.Errorf("got %+v for %+v", list, q)
	}
}

func TestOnePod(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.getPod = func(_ access.Identity, id string) (api.Pod, error) {
		if id != someID {
			return api.Pod{}, notFound()
		}
		return somePod(), nil
	}
	h.db.podHistory = func(_ access.Identity, id string, limit, offset int) ([]api.PodHistoryEntry, error) {
		if id != someID {
			return nil, notFound()
		}
		if limit != 50 || offset != 0 {
			t.Errorf("limit %d, offset %d", limit, offset)
		}
		return []api.PodHistoryEntry{{ID: otherID, PodID: id, Action: api.ActionCreated, Timestamp: someTime(), ActorID: userID}}, nil
	}
	h.db.podRuns = func(_ access.Identity, id string) ([]api.Run, error) {
		if id != someID {
			return nil, notFound()
		}
		return []api.Run{{RunKey: api.RunKey{PodID: id, Incarnation: 1, Attempt: 1}, NodeID: otherID, PackID: otherID, Status: api.RunRunning, CreatedAt: someTime()}}, nil
	}
	h.db.verdict = func(_ access.Identity, id string) (*api.Verdict, error) {
		if id != someID {
			return nil, notFound()
		}
		return &api.Verdict{PodID: id, Reason: api.ReasonUnschedulable, Message: "no room", PlanTime: someTime()}, nil
	}
	for _, sub := range []string{"", "/status", "/history", "/runs", "/explain"} {
		h.do(request{method: "GET", path: "/api/pods/" + someID + sub, token: "good-viewer"}).want(http.StatusOK, nil)
		h.do(request{method: "GET", path: "/api/pods/" + otherID + sub, token: "good-viewer"}).fails(http.StatusNotFound, fault.NotFound)
	}
	h.db.verdict = func(access.Identity, string) (*api.Verdict, error) { return nil, nil }
	h.do(request{method: "GET", path: "/api/pods/" + someID + "/explain", token: "good-viewer"}).want(http.StatusOK, nil)
	h.db.stopPod = func(_ access.Identity, id string) (api.Pod, bool, error) { return somePod(), id == otherID, nil }
	var stopped struct {
		Message string
		Purged  bool
	}
	h.do(request{method: "DELETE", path: "/api/pods/" + someID, token: "good-developer"}).want(http.StatusOK, &stopped)
	if stopped.Purged {
		t.Error("a live pod counts as purged")
	}
	h.do(request{method: "DELETE", path: "/api/pods/" + otherID, token: "good-developer"}).want(http.StatusOK, &stopped)
	if !stopped.Purged {
		t.Error("an ended pod does not count as purged")
	}
	h.db.stopPod = func(access.Identity, string) (api.Pod, bool, error) {
		return api.Pod{}, false, fault.New(fault.Forbidden, "not yours")
	}
	h.do(request{method: "DELETE", path: "/api/pods/" + someID, token: "good-developer"}).fails(http.StatusForbidden, fault.Forbidden)
}

// A request ends when its time is up, with the envelope.
func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(d *rest.Deps) { d.Config.RequestTimeout = 50 * time.Millisecond })
	h.db.createPod = func(ctx context.Context, _ access.Identity, _ api.CreatePodRequest) (api.Pod, error) {
		<-ctx.Done()
		return api.Pod{}, ctx.Err()
	}
	h.do(request{method: "POST", path: "/api/pods", token: "good-developer", body: map[string]any{"packName": "hello"}}).
		fails(http.StatusGatewayTimeout, fault.Timeout)
}

// Roles come from the database; the read model decides how long they are kept.
func TestRolesAreGoneAtOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	asked := 0
	roles := []api.Role{api.RoleAdmin}
	h.db.userRoles = func(string) ([]api.Role, bool, error) { asked++; return roles, true, nil }
	h.db.listPods = func(access.Identity, api.PodQuery) (api.Page[api.Pod], error) { return api.Page[api.Pod]{}, nil }
	feed := func(rs []api.Role) { applyUser(h.model, userIDOf("admin"), rs) }
	feed(roles)
	list := func() reply { return h.do(request{method: "GET", path: "/api/pods", token: "good-admin"}) }
	list().want(http.StatusOK, nil)
	list().want(http.StatusOK, nil)
	if asked != 1 {
		t.Errorf("the database was asked %d times for two requests", asked)
	}
	roles = []api.Role{}
	feed(roles)
	list().fails(http.StatusForbidden, fault.Forbidden)
	// While the database is away the read model answers.
	feed([]api.Role{api.RoleViewer})
	h.db.userRoles = func(string) ([]api.Role, bool, error) { return nil, false, fault.New(fault.Unavailable, "away") }
	list().want(http.StatusOK, nil)
	h.do(request{method: "GET", path: "/api/pods", token: "good-viewer"}).fails(http.StatusServiceUnavailable, fault.Unavailable)
}
