package rest_test

import (
	"context"
	"testing"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
)

// aheadLog is the log of a database that is ahead of the read model; it tells when it
// is asked where it stands.
type aheadLog struct {
	fakeLog
	asked chan struct{}
}

func (l aheadLog) Position(context.Context) (string, error) {
	close(l.asked)
	return "4", nil
}

func (aheadLog) Covers(have, want string) bool { return have >= want }

// A watch that begins right after its user was given the first role shows what that
// role may see, though the read model does not have it yet.
func TestAWatchBeginsBeforeTheReadModelHasTheRole(t *testing.T) {
	t.Parallel()
	ahead := aheadLog{asked: make(chan struct{})}
	h := newHarness(t, func(d *rest.Deps) { d.Log = ahead })
	h.model.Apply(store.Batch{
		Cursor: "2", Users: store.Changes[api.User]{Put: []api.User{{ID: userIDOf("admin")}}},
		Pods: store.Changes[api.Pod]{Put: []api.Pod{podNamed(someID, "developer", api.PodPending)}},
	})
	go func() {
		select {
		case <-ahead.asked:
			h.putRoles("4")
		case <-t.Context().Done():
		}
	}()
	next, _ := h.stream("/api/pods?watch=1", "admin")
	shows(t, next(), "put", someID, "")
}
