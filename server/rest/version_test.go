package rest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestChangesOfOneVersion(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.version = "7"
	h.db.getNode = func(access.Identity, string) (api.Node, error) {
		return api.Node{ID: someID, ResourceVersion: "7"}, nil
	}
	changed := 0
	h.db.updateNode = func(_ access.Identity, _ string, _ api.UpdateNodeRequest) (api.Node, error) {
		changed++
		return api.Node{ID: someID, ResourceVersion: "8"}, nil
	}
	h.db.deleteNode = func(access.Identity, string) error { changed++; return nil }
	path := "/api/nodes/" + someID
	if got := h.do(request{method: http.MethodGet, path: path, token: "good-admin"}).header.Get("ETag"); got != `"7"` {
		t.Errorf("ETag is %s", got)
	}
	patch := func(tag, body string) reply {
		return h.do(request{method: http.MethodPatch, path: path, token: "good-admin", body: body, header: map[string]string{"If-Match": tag}})
	}
	for _, tag := range []string{`"6"`, `W/"6"`, `"5", "6"`} {
		if e := patch(tag, `{}`).fails(http.StatusPreconditionFailed, fault.Conflict); e.Details["resourceVersion"] != "7" {
			t.Errorf("%s: got %v, want the version of now", tag, e.Details)
		}
	}
	if e := patch("", `{"resourceVersion":"6"}`).fails(http.StatusConflict, fault.Conflict); e.Details["resourceVersion"] != "7" {
		t.Errorf("got %v, want the version of now", e.Details)
	}
	h.do(request{method: http.MethodDelete, path: path, token: "good-admin", header: map[string]string{"If-Match": `"6"`}}).
		fails(http.StatusPreconditionFailed, fault.Conflict)
	for _, tag := range []string{"7", `"7`, `""`, `"a b"`, strings.Repeat(`"7",`, 20) + `"7"`, `"` + strings.Repeat("7", 300) + `"`} {
		if e := patch(tag, `{}`).fails(http.StatusBadRequest, fault.Validation); e.Details["If-Match"] == nil {
			t.Errorf("%q: got %v, want a fault of If-Match", tag, e.Details)
		}
	}
	if e := patch(`"7"`, `{"resourceVersion":"8"}`).fails(http.StatusBadRequest, fault.Validation); e.Details["resourceVersion"] == nil {
		t.Errorf("got %v, want a fault of resourceVersion", e.Details)
	}
	if changed != 0 {
		t.Fatalf("%d refused changes were made", changed)
	}
	for _, tag := range []string{`"7"`, `W/"7"`, `"6", "7"`, "*", ""} {
		if got := patch(tag, `{"resourceVersion":"7"}`); got.status != http.StatusOK || got.header.Get("ETag") != `"8"` {
			t.Errorf("%s: got %d with %s", tag, got.status, got.header.Get("ETag"))
		}
	}
	// Where it would count for nothing, it is refused.
	h.db.createNode = func(access.Identity, api.RegisterNodeRequest) (api.Node, error) { return api.Node{ID: someID}, nil }
	h.do(request{method: http.MethodPost, path: "/api/nodes", token: "good-admin", body: `{"name":"a","runtimeType":"node"}`, header: map[string]string{"If-Match": `"7"`}}).
		fails(http.StatusBadRequest, fault.Validation)
}
