package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

const overdueEvery = time.Second

// overdue has it said in pods whose stop takes too long. It keeps those that stop from the
// changes of the read model, so that a round looks at no other pod and asks nothing while
// none is late. It only says so: whether such a pod has ended nobody knows but its node.
func (d Deps) overdue(ctx context.Context) error {
	events := d.Store.Pods.Watch(ctx)
	ticker := time.NewTicker(overdueEvery)
	defer ticker.Stop()
	stopping := map[string]*api.Pod{}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-events:
			if !ok {
				return context.Cause(ctx)
			}
			follow(stopping, e)
		case <-ticker.C:
			d.tellOverdue(ctx, stopping)
		}
	}
}

// follow keeps the pods that stop and do not say yet that this takes too long.
func follow(stopping map[string]*api.Pod, e store.Event[api.Pod]) {
	switch e.Type {
	case store.Resync: // all that there is follows
		clear(stopping)
	case store.Delete:
		delete(stopping, e.ID)
	case store.Put:
		if _, stops := pod.StopDue(*e.Value); stops && e.Value.Reason != api.ReasonStopOverdue {
			stopping[e.ID] = e.Value
		} else {
			delete(stopping, e.ID)
		}
	default: // says nothing of any pod
	}
}

// tellOverdue says it in the pods that are late. The database judges by its own clock, and
// one of which it is not told yet comes again in the next round.
func (d Deps) tellOverdue(ctx context.Context, stopping map[string]*api.Pod) {
	var late []api.Pod
	now := d.Now()
	for _, p := range stopping {
		if due, _ := pod.StopDue(*p); now.After(due) {
			late = append(late, *p)
		}
	}
	if len(late) == 0 || d.Store.Stale() {
		return
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	told, err := d.Upkeep.TellOverdueStops(call, late)
	switch {
	case err != nil && ctx.Err() == nil:
		d.Logger.WarnContext(ctx, "it could not be said that stops are overdue", slog.Any("error", err))
	case len(told) > 0:
		d.Logger.WarnContext(ctx, "nodes have not told the end of pods in time", slog.Int("pods", len(told)), slog.String("one", told[0]))
	}
}
