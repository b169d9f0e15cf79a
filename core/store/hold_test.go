package store_test

import (
	"context"
	"runtime"
	"testing"
	"weak"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// A watch that goes on for long holds nothing of what there was when it began: else each
// would keep a read model of its own.
func TestAWatchHoldsNothingThatHasGone(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(context.Context, *store.Table[api.Pod]) (next func() []store.Event[api.Pod]){
		"Watch": func(ctx context.Context, pods *store.Table[api.Pod]) func() []store.Event[api.Pod] {
			events := pods.Watch(ctx)
			return func() []store.Event[api.Pod] { return []store.Event[api.Pod]{<-events} }
		},
		"WatchMany": func(ctx context.Context, pods *store.Table[api.Pod]) func() []store.Event[api.Pod] {
			events := pods.WatchMany(ctx, store.WatchBuffer)
			return func() []store.Event[api.Pod] { return <-events }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := store.New()
			old := putMarked(s)
			next := begin(t.Context(), s.Pods)
			until := func(cursor string) {
				for {
					events := next()
					if events[len(events)-1].Cursor == cursor {
						return
					}
				}
			}
			until("1")
			s.Apply(store.Batch{Cursor: "2", Pods: store.Changes[api.Pod]{Put: []api.Pod{{ID: "a"}}}})
			until("2")
			s.Apply(store.Batch{Cursor: "3", Pods: store.Changes[api.Pod]{Put: []api.Pod{{ID: "b"}}}})
			until("3")
			runtime.GC()
			if old.Value() != nil {
				t.Error("the watch still holds a pod as it was when the watch began")
			}
			runtime.KeepAlive(s)
		})
	}
}

// putMarked stores a first pod, and gives what is there as long as something holds it.
func putMarked(s *store.Store) weak.Pointer[[1 << 10]byte] {
	mark := new([1 << 10]byte)
	pod := api.Pod{ID: "a", Metadata: map[string]any{"mark": mark}}
	s.Apply(store.Batch{Reset: true, Cursor: "1", Pods: store.Changes[api.Pod]{Put: []api.Pod{pod}}})
	return weak.Make(mark)
}
