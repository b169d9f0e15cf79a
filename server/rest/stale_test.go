package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func away() error { return fault.New(fault.Unavailable, "the database is away") }

// databaseAway fills the read model and takes the database away.
func databaseAway(h *harness) {
	h.db.userRoles = func(string) ([]api.Role, bool, error) { return nil, false, away() }
	h.db.getPod = func(access.Identity, string) (api.Pod, error) { return api.Pod{}, away() }
	h.db.listPods = func(access.Identity, api.PodQuery) (api.Page[api.Pod], error) { return api.Page[api.Pod]{}, away() }
	h.db.getNode = func(access.Identity, string) (api.Node, error) { return api.Node{}, away() }
	h.db.listNodes = func(access.Identity, api.NodeQuery) (api.Page[api.Node], error) { return api.Page[api.Node]{}, away() }
	h.db.getPack = func(access.Identity, string) (api.Pack, error) { return api.Pack{}, away() }
	h.db.listPacks = func(access.Identity, api.PackQuery) (api.Page[api.Pack], error) { return api.Page[api.Pack]{}, away() }
	h.db.createPod = func(context.Context, access.Identity, api.CreatePodRequest) (api.Pod, error) {
		return api.Pod{}, away()
	}
	batch := store.Batch{Reset: true, Cursor: "2"}
	for _, role := range roleIDs[:4] {
		batch.Users.Put = append(batch.Users.Put, api.User{ID: userIDOf(role), Roles: []api.Role{api.Role(role)}})
	}
	for i := range 5 { // the first two belong to the developer
		p := somePod()
		p.ID, p.CreatedAt = fmt.Sprintf("%s%d", someID[:35], i), someTime().Add(time.Duration(i)*time.Minute)
		p.Labels = map[string]string{"n": fmt.Sprint(i)}
		if i < 2 {
			p.CreatedBy = userIDOf("developer")
		}
		batch.Pods.Put = append(batch.Pods.Put, p)
	}
	batch.Nodes.Put = []api.Node{{ID: someID, Name: "n1", RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Labels: map[string]string{"zone": "a"}}}
	batch.Packs.Put = []api.Pack{somePack()}
	h.model.Apply(batch)
	h.model.SetStale(true)
}

// Postgres gone: reads come from memory and say so, within the caller's rights;
// writes are refused for now.
func TestReadsWithoutDatabase(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	databaseAway(h)
	var pods struct {
		Pods  []api.Pod
		Total int
	}
	get := func(role, path string, into any) reply {
		r := h.do(request{method: "GET", path: path, token: "good-" + role})
		r.want(http.StatusOK, into)
		if r.header.Get("X-Stark-Stale") != "true" {
			t.Errorf("%s does not say that it is stale", path)
		}
		return r
	}
	get("admin", "/api/pods?pageSize=2&page=2", &pods)
	if pods.Total != 5 || len(pods.Pods) != 2 || !pods.Pods[0].CreatedAt.After(pods.Pods[1].CreatedAt) {
		t.Errorf("got %d of %d", len(pods.Pods), pods.Total)
	}
	get("admin", "/api/pods?labelSelector=n%20in%20(1,3)&status=running&nodeId="+otherID, &pods)
	if pods.Total != 2 {
		t.Errorf("selected %d", pods.Total)
	}
	get("developer", "/api/pods", &pods)
	if pods.Total != 2 {
		t.Errorf("a developer sees %d pods of 2", pods.Total)
	}
	mine, foreign := "/api/pods/"+someID[:35]+"0", "/api/pods/"+someID[:35]+"4"
	get("developer", mine, nil)
	h.do(request{method: "GET", path: foreign, token: "good-developer"}).fails(http.StatusNotFound, fault.NotFound)
	for path, total := range map[string]string{
		"/api/nodes?labelSelector=zone%3Da&search=N": `"total":1`, "/api/nodes?status=offline": `"total":0`,
		"/api/packs?name=hello": `"total":1`, "/api/packs?search=other": `"total":0`,
	} {
		if r := get("operator", path, nil); !strings.Contains(string(r.raw), total) {
			t.Errorf("%s: %s", path, r.raw)
		}
	}
	get("viewer", "/api/nodes/"+someID, nil)
	get("developer", "/api/packs/"+someID, nil)
	h.do(request{method: "GET", path: "/api/packs/" + someID, token: "good-viewer"}).fails(http.StatusNotFound, fault.NotFound)
	h.do(request{method: "POST", path: "/api/pods", token: "good-developer", body: map[string]any{"packName": "hello"}}).
		fails(http.StatusServiceUnavailable, fault.Unavailable)
}
