package dispatch

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// stop is one that a node was told and whose end it has not told yet. All of them are
// guarded by the lock of the wanted set.
type stop struct {
	incarnation int
	due         time.Time // from when on it is told again
	unnamed     bool      // nothing of the pod was alive when the node came, and it was told nothing but this of it
}

// stopTold keeps that a frame tells the node to stop a pod, or that it is wanted. To be
// told again does not count: the time runs from the first telling on this connection.
func (s *session) stopTold(a wire.Assignment) {
	w := &s.wanted
	if a.Desire != wire.DesireStop {
		delete(w.stops, a.PodID)
		return
	}
	if known := w.stops[a.PodID]; known != nil && known.incarnation == a.Incarnation {
		return
	}
	if w.stops == nil { // most nodes have none most of the time
		w.stops = map[string]*stop{}
	}
	grace := time.Duration(a.Pod.GraceSeconds) * time.Second
	w.stops[a.PodID] = &stop{incarnation: a.Incarnation, due: time.Now().Add(grace + s.d.config.StopMargin)}
}

// setTold is stopTold for a complete set. The first one after a registration may have pods
// that the node has not named among those that are alive: of them there is nothing to stop.
func (s *session) setTold() {
	w := &s.wanted
	maps.DeleteFunc(w.stops, func(id string, _ *stop) bool { _, wanted := w.runs[id]; return !wanted })
	for id, a := range w.runs {
		s.stopTold(a)
		if told := w.stops[id]; told != nil && w.named != nil && !w.named[id] {
			told.unnamed, told.due = true, time.Now().Add(s.d.config.StopMargin)
		}
	}
	w.named = nil
}

// names takes in what a node that registers says is alive on it.
func (w *wantedSet) names(runs []wire.RunState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.named = make(map[string]bool, len(runs))
	for _, r := range runs {
		w.named[r.PodID] = true
	}
}

// tells takes in that the node has a word on some pods.
func (w *wantedSet) tells(reports []wire.RunReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range reports {
		if w.named != nil {
			w.named[r.PodID] = true
		}
		if told := w.stops[r.PodID]; told != nil {
			told.unnamed = false
		}
	}
}

// remind tells a node that shows that it lives again of the stops whose end it should have
// told by now. Where there is nothing to stop, and the node knows that it is not to start
// it, the end is stored without its word.
func (s *session) remind(ctx context.Context) {
	w := &s.wanted
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reading || w.runs == nil || w.acked < w.seq { // it is being told
		return
	}
	var again []wire.Assignment
	var gone []wire.RunReport
	now := time.Now()
	for id, told := range w.stops {
		a, wanted := w.runs[id]
		switch {
		case now.Before(told.due) || !wanted || a.Incarnation != told.incarnation:
		case told.unnamed:
			told.due = now.Add(s.d.config.AckTimeout) // until it is stored, or has failed
			gone = append(gone, goneReport(a, now))
		default:
			again = append(again, a)
		}
	}
	if len(again) > 0 {
		slices.SortFunc(again, func(a, b wire.Assignment) int { return cmp.Compare(a.PodID, b.PodID) })
		s.delta(wire.RunsDelta{Put: again})
	}
	if len(gone) > 0 {
		nodeID := w.nodeID
		s.life.run(func() { s.storeGone(ctx, nodeID, gone) })
	}
}

// goneReport is the end of a pod that its node has come back without.
func goneReport(a wire.Assignment, now time.Time) wire.RunReport {
	reason := cmp.Or(a.StopReason, api.ReasonStopped)
	key := api.RunKey{PodID: a.PodID, Incarnation: a.Incarnation, Attempt: max(a.LastAttempt, 1)}
	return wire.RunReport{
		RunKey: key, Status: api.RunExited, Reason: reason, Final: true, At: now.UTC(),
		Termination: &api.Termination{
			Reason: reason, Attempt: key.Attempt, FinishedAt: now.UTC(),
			Message: "the node came back without it: how the run ended is not known",
		},
	}
}

func (s *session) storeGone(ctx context.Context, nodeID string, reports []wire.RunReport) {
	_, refused, err := s.reportRuns(ctx, nodeID, reports)
	switch {
	case err != nil && ctx.Err() == nil:
		s.log.WarnContext(ctx, "the end of pods that a node came back without could not be stored", slog.Any("error", err))
	case err == nil:
		s.log.InfoContext(ctx, "a node came back without pods that it was to stop",
			slog.Int("pods", len(reports)-len(refused)), slog.String("node", nodeID))
	}
}
