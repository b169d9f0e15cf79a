package watch_test

import (
	"encoding/json"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/api"
)

// All events of a batch but the last carry the cursor of the batch before: a pod that
// comes last in one and first in the next is in two states at one cursor.
func TestTwoStatesAtOneCursor(t *testing.T) {
	t.Parallel()
	s := store.New()
	pod := func(id, version string, status api.PodStatus) api.Pod {
		return api.Pod{ID: id, ResourceVersion: version, Status: status, Namespace: "default", CreatedBy: "u"}
	}
	source := watch.Source{Store: s}
	admin := func() access.Identity { return access.Identity{UserID: "u", Roles: []api.Role{api.RoleAdmin}} }
	s.Apply(store.Batch{Reset: true, Cursor: "c0"})
	events, err := source.Open(t.Context(), admin, watch.Request{Kind: watch.Pods})
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(store.Batch{Cursor: "c1", Pods: store.Changes[api.Pod]{Put: []api.Pod{pod("a", "1", api.PodRunning)}}})
	s.Apply(store.Batch{Cursor: "c2", Pods: store.Changes[api.Pod]{Put: []api.Pod{pod("a", "2", api.PodFailed), pod("b", "1", api.PodRunning)}}})
	var last api.PodStatus
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		var p api.Pod
		if len(e.Object) == 0 || json.Unmarshal(e.Object, &p) != nil {
			continue
		}
		if p.ID == "a" {
			last = p.Status
		}
		if p.ID == "b" {
			break
		}
	}
	if last != api.PodFailed {
		t.Errorf("the pod is told to be %s, and has failed", last)
	}
}
