package namespace_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/namespace"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestUnavailable(t *testing.T) {
	t.Parallel()
	always := []api.PodStatus{api.PodScheduled, api.PodStarting, api.PodStopping, api.PodUnknown}
	for _, status := range api.PodStatuses {
		p := api.Pod{Status: status, Incarnation: 1}
		if got, want := namespace.Unavailable(p), slices.Contains(always, status); got != want {
			t.Errorf("%s: got %t, want %t", status, got, want)
		}
		p.Incarnation = 2
		if got, want := namespace.Unavailable(p), slices.Contains(always, status) || status == api.PodPending; got != want {
			t.Errorf("%s after a move: got %t, want %t", status, got, want)
		}
		p.Eviction = &api.Eviction{}
		if got, want := namespace.Unavailable(p), !status.Terminal(); got != want {
			t.Errorf("%s, told to leave: got %t, want %t", status, got, want)
		}
		p.StopRequestedAt = new(time.Now())
		if namespace.Unavailable(p) {
			t.Errorf("%s, asked to stop: want that nobody misses it", status)
		}
	}
}
