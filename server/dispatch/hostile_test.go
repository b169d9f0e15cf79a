package dispatch_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// Thousands of questions at once are answered, not taken for a slow reader.
func TestManyQuestionsAreAnswered(t *testing.T) {
	t.Parallel()
	const many = 6000
	p := newRig(t, newFakeDB(), dispatch.Config{}).dial(t, "token viewer")
	p.expect(wire.TypeConnected, nil)
	for i := range many {
		p.send(wire.TypePing, strconv.Itoa(i), nil)
	}
	for i := range many {
		if e := p.expect(wire.TypePong, nil); e.CorrelationID != strconv.Itoa(i) {
			t.Fatalf("got the answer to %s, want %d", e.CorrelationID, i)
		}
	}
}

// Who is deleted sees nothing more, and what leaves a watcher's sight does not
// say what it has become.
func TestWatchOfADeletedUser(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	viewer := api.User{ID: "viewer", Roles: []api.Role{api.RoleViewer}}
	pod := api.Pod{ID: api.NewID(), Namespace: "default", CreatedBy: "viewer", Status: api.PodPending}
	r.store.Apply(store.Batch{Cursor: "2", Users: store.Changes[api.User]{Put: []api.User{viewer}}, Pods: store.Changes[api.Pod]{Put: []api.Pod{pod}}})
	p := r.dial(t, "token viewer")
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeWatch, "w", wire.Watch{WatchID: "w", Kind: "pods"})
	p.expect(wire.TypeWatch+wire.AckSuffix, nil)
	p.expect(wire.TypeEvent, nil)
	p.expect(wire.TypeBookmark, nil)

	pod.StatusMessage = "secret"
	r.store.Apply(store.Batch{Cursor: "3", Users: store.Changes[api.User]{Delete: []string{"viewer"}}, Pods: store.Changes[api.Pod]{Put: []api.Pod{pod}}})
	if code := p.expectClose(); code != websocket.StatusPolicyViolation {
		t.Errorf("got %d, want 1008", code)
	}
	for len(p.got) > 0 {
		if e := <-p.got; strings.Contains(string(e.Payload), "secret") {
			t.Errorf("told a user who is gone: %s", e.Payload)
		}
	}
}

// What is no handshake is refused in the form of all other refusals.
func TestNoHandshake(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	for name, test := range map[string]struct {
		headers map[string]string
		status  int
		code    fault.Code
	}{
		"a plain request": {nil, http.StatusUpgradeRequired, fault.Validation},
		"a strange origin": {map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "https://evil.example",
		}, http.StatusForbidden, fault.Forbidden},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+strings.TrimPrefix(r.url, "ws"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range test.headers {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var e fault.Envelope
		err = json.NewDecoder(resp.Body).Decode(&e)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != test.status || e.Error.Code != test.code || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %+v (%v)", name, resp.StatusCode, e, err)
		}
	}
}
