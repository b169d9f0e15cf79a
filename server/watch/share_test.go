package watch_test

import (
	"iter"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// watching opens a watch and reads it up to the mark behind what exists.
func watching(t *testing.T, s *store.Store, viewer *access.Identity, r watch.Request) (next func() wire.WatchEvent) {
	t.Helper()
	events, err := watch.Source{Store: s}.Open(t.Context(), func() access.Identity { return *viewer }, r)
	if err != nil {
		t.Fatal(err)
	}
	pull, stop := iter.Pull2(events)
	t.Cleanup(stop)
	next = func() wire.WatchEvent {
		t.Helper()
		e, err, ok := pull()
		if err != nil || !ok {
			t.Fatalf("the watch has ended: %v", err)
		}
		return e
	}
	for !next().Synced {
	}
	return next
}

// A change is encoded once for all its watchers.
func TestAChangeIsEncodedOnce(t *testing.T) {
	t.Parallel()
	s := store.New()
	s.Apply(store.Batch{Reset: true, Cursor: "1"})
	admin := &access.Identity{UserID: "u", Roles: []api.Role{api.RoleAdmin}}
	a := watching(t, s, admin, watch.Request{Kind: watch.Pods})
	b := watching(t, s, admin, watch.Request{Kind: watch.Pods, Namespace: "default"})
	for _, cursor := range []string{"2", "3"} {
		s.Apply(store.Batch{Cursor: cursor, Pods: store.Changes[api.Pod]{Put: []api.Pod{{ID: "p", Namespace: "default", Reason: cursor}}}})
		one, other := a(), b()
		if one.Cursor != cursor || other.Cursor != cursor || &one.Object[0] != &other.Object[0] {
			t.Errorf("at %s: got %s at %s and %s at %s, want the same bytes", cursor, one.Object, one.Cursor, other.Object, other.Cursor)
		}
	}
}

// Whoever sees all is told of what leaves their sight as others are, and of nothing that
// they have never seen.
func TestWhatLeavesTheSightOfWhoSawAll(t *testing.T) {
	t.Parallel()
	s := store.New()
	pod := func(id, owner string) api.Pod { return api.Pod{ID: id, Namespace: "default", CreatedBy: owner} }
	put := func(cursor string, pods ...api.Pod) {
		s.Apply(store.Batch{Cursor: cursor, Pods: store.Changes[api.Pod]{Put: pods}})
	}
	s.Apply(store.Batch{Reset: true, Cursor: "1", Pods: store.Changes[api.Pod]{Put: []api.Pod{pod("theirs", "v"), pod("mine", "u")}}})
	viewer := &access.Identity{UserID: "u", Roles: []api.Role{api.RoleOperator}}
	next := watching(t, s, viewer, watch.Request{Kind: watch.Pods})
	want := func(event, cursor string) {
		t.Helper()
		if e := next(); e.Event != event || e.Cursor != cursor {
			t.Errorf("got %s %s at %s, want %s at %s", e.Event, e.Object, e.Cursor, event, cursor)
		}
	}
	viewer.Roles = []api.Role{api.RoleDeveloper}
	put("2", pod("theirs", "v"))
	want(wire.EventDelete, "2")
	put("3", pod("theirs", "v")) // still out of sight, and told already
	put("4", pod("new", "v"))    // never seen
	put("5", pod("mine", "u"))
	want(wire.EventPut, "5")
	s.Apply(store.Batch{Cursor: "6", Pods: store.Changes[api.Pod]{Delete: []string{"new", "theirs", "mine"}}})
	want(wire.EventDelete, "6")
	put("7", pod("mine", "v")) // made anew, and somebody else's
	put("8", pod("other", "u"))
	want(wire.EventPut, "8")
}
