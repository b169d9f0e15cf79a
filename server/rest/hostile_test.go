package rest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// UUIDs may come in capitals, and mean the same.
func TestIDsInCapitals(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const lower = "abcdefab-cdef-4bcd-8def-abcdefabcdef"
	upper := strings.ToUpper(lower)
	h.db.getPod = func(_ access.Identity, id string) (api.Pod, error) {
		if id != lower {
			t.Errorf("asked for %s", id)
		}
		return somePod(), nil
	}
	h.db.listPods = func(_ access.Identity, q api.PodQuery) (api.Page[api.Pod], error) {
		if q.PackID != lower || q.NodeID != lower {
			t.Errorf("asked for %+v", q)
		}
		return api.Page[api.Pod]{}, nil
	}
	h.db.listPacks = func(_ access.Identity, q api.PackQuery) (api.Page[api.Pack], error) {
		if q.OwnerID != lower {
			t.Errorf("asked for %+v", q)
		}
		return api.Page[api.Pack]{}, nil
	}
	for _, path := range []string{
		"/api/pods/" + upper, "/api/pods/" + upper + "/logs", "/api/pods?packId=" + upper + "&nodeId=" + upper, "/api/packs?ownerId=" + upper,
	} {
		if got := h.do(request{method: "GET", path: path, token: "good-viewer"}).status; got != http.StatusOK {
			t.Errorf("%s: got %d", path, got)
		}
	}
	f := h.do(request{method: "GET", path: "/api/pods/" + lower + "/logs?folow=true", token: "good-viewer"}).fails(http.StatusBadRequest, fault.Validation)
	field(t, f, "folow")
}

// Who signs out is reported, so that the session is over everywhere; a session
// that had ended already is not.
func TestSigningOutTellsWhichSessionEnds(t *testing.T) {
	t.Parallel()
	var ended []string
	h := newHarness(t, func(d *rest.Deps) { d.Ended = func(session string) { ended = append(ended, session) } })
	h.auth.logout = func(string) error { return nil }
	for _, token := range []string{"session-1", "expired", "good-viewer"} {
		h.do(request{method: "POST", path: "/auth/logout", token: token}).want(http.StatusOK, nil)
	}
	if len(ended) != 1 || ended[0] != "session-1" {
		t.Errorf("told of %q", ended)
	}
}
