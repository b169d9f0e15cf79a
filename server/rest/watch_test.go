package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// fakeLog knows of one cursor.
type fakeLog struct{ good string }

func (f fakeLog) Covers(_, want string) bool { return want == f.good || want == "old" }

func (f fakeLog) Position(context.Context) (string, error) { return f.good, nil }

func (f fakeLog) ChangedSince(_ context.Context, _ access.Identity, _, cursor string) (map[string]bool, []string, error) {
	if cursor != f.good {
		return nil, nil, fault.New(fault.Gone, "list again")
	}
	return map[string]bool{otherID: true}, []string{"gone"}, nil
}

// stream opens a watch and gives its lines one by one.
func (h *harness) stream(path, role string) (next func() wire.WatchEvent, end func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.srv.URL+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good-"+role)
	resp, err := h.srv.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(ct, "application/x-ndjson") {
		text, _ := io.ReadAll(resp.Body)
		h.t.Fatalf("%s: %d %s: %s", path, resp.StatusCode, ct, text)
	}
	end = func() { cancel(); _ = resp.Body.Close() }
	h.t.Cleanup(end)
	scan := bufio.NewScanner(resp.Body)
	return func() wire.WatchEvent {
		h.t.Helper()
		var e wire.WatchEvent
		if !scan.Scan() {
			h.t.Fatalf("the stream has ended: %v", scan.Err())
		}
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			h.t.Fatalf("%q: %v", scan.Text(), err)
		}
		return e
	}, end
}

func (h *harness) putPods(cursor string, pods ...api.Pod) {
	h.model.Apply(store.Batch{Cursor: cursor, Pods: store.Changes[api.Pod]{Put: pods}})
}

func (h *harness) putRoles(cursor string) {
	batch := store.Batch{Cursor: cursor}
	for _, role := range roleIDs[:4] {
		batch.Users.Put = append(batch.Users.Put, api.User{ID: userIDOf(role), Roles: []api.Role{api.Role(role)}})
	}
	h.model.Apply(batch)
}

func podNamed(id, owner string, status api.PodStatus) api.Pod {
	p := somePod()
	p.ID, p.CreatedBy, p.Status = id, userIDOf(owner), status
	return p
}

func shows(t *testing.T, e wire.WatchEvent, event, id, cursor string) {
	t.Helper()
	var object struct{ ID string }
	if len(e.Object) > 0 {
		if err := json.Unmarshal(e.Object, &object); err != nil {
			t.Fatal(err)
		}
	}
	if e.Event != event || object.ID != id || e.Cursor != cursor {
		t.Errorf("got %s %s at %q (%v), want %s %s at %q", e.Event, object.ID, e.Cursor, e.Error, event, id, cursor)
	}
}

func TestWatchOverREST(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(d *rest.Deps) { d.Log = fakeLog{good: "2"} })
	h.putRoles("2")
	h.putPods("3", podNamed(someID, "developer", api.PodPending), podNamed(userID, "admin", api.PodPending))
	next, _ := h.stream("/api/pods?watch=1&namespace=default", "developer")
	shows(t, next(), "put", someID, "")
	if e := next(); e.Event != "bookmark" || !e.Synced || e.Cursor != "3" {
		t.Errorf("got %+v, want the end of what exists", e)
	}
	h.putPods("4", podNamed(someID, "developer", api.PodRunning), podNamed(otherID, "developer", api.PodPending))
	shows(t, next(), "put", someID, "3")
	shows(t, next(), "put", otherID, "4")
	h.model.Apply(store.Batch{Cursor: "5", Pods: store.Changes[api.Pod]{Delete: []string{userID, someID}}})
	shows(t, next(), "delete", someID, "5")

	// From a cursor on: what has changed and what has gone.
	h.putPods("6", podNamed(someID, "developer", api.PodRunning), podNamed(otherID, "developer", api.PodRunning))
	again, _ := h.stream("/api/pods?watch=1&since=2", "developer")
	shows(t, again(), "put", otherID, "")
	shows(t, again(), "delete", "gone", "6")
	if e := again(); !e.Synced {
		t.Errorf("got %+v, want the end of what has changed", e)
	}

	// A role that is taken away is gone at once.
	h.model.Apply(store.Batch{Cursor: "7", Users: store.Changes[api.User]{Put: []api.User{{ID: userIDOf("developer")}}}})
	h.putPods("8", podNamed(otherID, "developer", api.PodStopped))
	e := again()
	if e.Event == "delete" {
		e = again()
	}
	isGone(t, e)
}

func isGone(t *testing.T, e wire.WatchEvent) {
	t.Helper()
	if e.Error == nil || e.Error.Code != fault.Gone {
		t.Errorf("got %s %s (%v), want the end of the watch", e.Event, e.Object, e.Error)
	}
}

// A watch shows what its user may see, all of it and nothing else. Where that becomes
// another set, without a word about the objects, it ends and begins anew.
func TestWatchEndsWhenRightsChange(t *testing.T) {
	t.Parallel()
	user := userIDOf("developer")
	for name, batch := range map[string]store.Batch{
		"a role more":       {Users: store.Changes[api.User]{Put: []api.User{{ID: user, Roles: []api.Role{api.RoleDeveloper, api.RoleOperator}}}}},
		"no role":           {Users: store.Changes[api.User]{Put: []api.User{{ID: user}}}},
		"no account":        {Users: store.Changes[api.User]{Delete: []string{user}}},
		"a membership more": {Members: store.Changes[api.NamespaceMember]{Put: []api.NamespaceMember{{Namespace: "team", UserID: user, Role: api.RoleViewer}}}},
		"a membership less": {Members: store.Changes[api.NamespaceMember]{Delete: []string{store.MemberKey("old", user)}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.putRoles("1")
			h.model.Apply(store.Batch{Cursor: "3", Members: store.Changes[api.NamespaceMember]{Put: []api.NamespaceMember{
				{Namespace: "old", UserID: user, Role: api.RoleViewer},
			}}})
			next, _ := h.stream("/api/pods?watch=1", "developer")
			if e := next(); !e.Synced {
				t.Fatalf("got %+v", e)
			}
			// What happens to others is nothing to this one.
			h.model.Apply(store.Batch{
				Cursor: "4", Users: store.Changes[api.User]{Put: []api.User{{ID: userIDOf("viewer")}}},
				Members: store.Changes[api.NamespaceMember]{Put: []api.NamespaceMember{{Namespace: "team", UserID: userIDOf("viewer"), Role: api.RoleViewer}}},
			})
			h.putPods("5", podNamed(someID, "developer", api.PodPending))
			shows(t, next(), "put", someID, "5")
			batch.Cursor = "6"
			h.model.Apply(batch)
			isGone(t, next())
		})
	}
}

func TestWatchOfOneAndOfNodes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.putRoles("2")
	pod := podNamed(someID, "developer", api.PodRunning)
	node := otherID
	pod.NodeID = &node
	h.model.Apply(store.Batch{
		Cursor: "3", Pods: store.Changes[api.Pod]{Put: []api.Pod{pod, podNamed(otherID, "developer", api.PodRunning)}},
		Nodes: store.Changes[api.Node]{Put: []api.Node{{ID: otherID, Name: "n1", Status: api.NodeOnline}, {ID: someID, Name: "n2", Status: api.NodeOffline}}},
	})
	withPod(h, pod)
	next, _ := h.stream("/api/pods/"+strings.ToUpper(someID)+"?watch=1", "developer")
	shows(t, next(), "put", someID, "")
	if e := next(); !e.Synced {
		t.Errorf("got %+v, want no other pod", e)
	}
	nodes, _ := h.stream("/api/nodes?watch=true&status=online", "viewer")
	e := nodes()
	var n api.Node
	if err := json.Unmarshal(e.Object, &n); err != nil || n.Name != "n1" || n.Allocated.Pods != 2 {
		t.Errorf("got %+v, %v", n, err)
	}
	if e := nodes(); !e.Synced {
		t.Errorf("got %+v, want no other node", e)
	}
	h.do(request{method: "GET", path: "/api/pods/" + otherID + "?watch=1", token: "good-viewer"}).fails(http.StatusNotFound, fault.NotFound)
}

func TestWatchRefuses(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(d *rest.Deps) { d.Log = fakeLog{good: "2"} })
	for path, want := range map[string]struct {
		status int
		code   fault.Code
	}{
		"/api/pods?watch=maybe":                  {http.StatusBadRequest, fault.Validation},
		"/api/pods?watch=1&page=2":               {http.StatusBadRequest, fault.Validation},
		"/api/pods?watch=1&status=odd":           {http.StatusBadRequest, fault.Validation},
		"/api/pods?watch=1&labelSelector=%21%21": {http.StatusBadRequest, fault.Validation},
		"/api/nodes?watch=1&since=nonsense":      {http.StatusBadRequest, fault.Validation},
		"/api/nodes?watch=1&since=old":           {http.StatusGone, fault.Gone},
		"/api/pods/x?watch=1":                    {http.StatusBadRequest, fault.Validation},
	} {
		h.do(request{method: "GET", path: path, token: "good-viewer"}).fails(want.status, want.code)
	}
	h.do(request{method: "GET", path: "/api/pods?watch=1"}).fails(http.StatusUnauthorized, fault.AuthenticationRequired)
	h.do(request{method: "GET", path: "/api/pods?watch=1", token: "good-nobody"}).fails(http.StatusUnauthorized, fault.UserNotFound)
	h.db.listPods = func(access.Identity, api.PodQuery) (api.Page[api.Pod], error) {
		return api.Page[api.Pod]{Cursor: "7"}, nil
	}
	var list struct{ Cursor string }
	h.do(request{method: "GET", path: "/api/pods?watch=false", token: "good-viewer"}).want(http.StatusOK, &list)
	if list.Cursor != "7" {
		t.Errorf("a list has the cursor %q", list.Cursor)
	}
}

// A watch ends with a line that says why: the server stops, or there are too many.
func TestWatchEndsWithAReason(t *testing.T) {
	t.Parallel()
	stopping := make(chan struct{})
	h := newHarness(t, func(d *rest.Deps) { d.Stopping = stopping })
	next, end := h.stream("/api/pods?watch=1", "viewer")
	next()
	for range 31 {
		h.stream("/api/pods?watch=1", "viewer")
	}
	h.do(request{method: "GET", path: "/api/pods?watch=1", token: "good-viewer"}).fails(http.StatusTooManyRequests, fault.RateLimited)
	admin, _ := h.stream("/api/pods?watch=1", "admin") // another user has room
	admin()
	end()
	close(stopping)
	if e := admin(); e.Error == nil || e.Error.Code != fault.Unavailable {
		t.Errorf("ended with %+v", e)
	}
}

// fickleVerifier believes tokens until it is told not to.
type fickleVerifier struct {
	fakeVerifier
	over atomic.Bool
}

// Alive implements rest.TokenVerifier.
func (f *fickleVerifier) Alive(context.Context, access.Identity) error {
	if f.over.Load() {
		return fault.New(fault.TokenInvalid, "this session has ended; sign in again")
	}
	return nil
}

func (f *fickleVerifier) Verify(ctx context.Context, token string) (access.Identity, error) {
	if f.over.Load() {
		return access.Identity{}, fault.New(fault.TokenInvalid, "this session has ended; sign in again")
	}
	return f.fakeVerifier.Verify(ctx, token)
}

// A session that ends takes its watches with it, before they tell anything more.
func TestWatchEndsWithItsSession(t *testing.T) {
	t.Parallel()
	v := &fickleVerifier{}
	h := newHarness(t, func(d *rest.Deps) { d.Verifier = v })
	h.putRoles("2")
	next, _ := h.stream("/api/pods?watch=1", "developer")
	if e := next(); !e.Synced {
		t.Fatalf("got %+v", e)
	}
	v.over.Store(true)
	for {
		h.putPods("3", podNamed(someID, "developer", api.PodRunning))
		e := next()
		if e.Error != nil {
			if e.Error.Code != fault.TokenInvalid {
				t.Errorf("ended with %+v", e.Error)
			}
			return
		}
		// Within a second of the last look at the token events still come.
	}
}

// It needs no event for that.
func TestIdleWatchEndsWithItsSession(t *testing.T) {
	t.Parallel()
	v := &fickleVerifier{}
	h := newHarness(t, func(d *rest.Deps) { d.Verifier = v })
	h.putRoles("2")
	next, _ := h.stream("/api/pods?watch=1", "developer")
	if e := next(); !e.Synced {
		t.Fatalf("got %+v", e)
	}
	v.over.Store(true)
	if e := next(); e.Error == nil || e.Error.Code != fault.TokenInvalid {
		t.Errorf("got %+v", e)
	}
}
