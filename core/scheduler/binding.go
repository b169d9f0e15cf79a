package scheduler

import (
	"context"
	"log/slog"
	"slices"
)

// bindsAtOnce is how many batches are bound at a time: while one waits for its commit or
// for the database to work on it, the other has that of a second connection. Batches have
// no pod in common, but for one that was restarted, of which the database takes the newer.
// One with verdicts is bound by itself: what its victims take of a disruption budget is
// stored before the next is counted.
const bindsAtOnce = 2

// binding binds batches beside the planning of the next. Of a crowd the last batches of a
// pass are still being bound while the next part of the crowd is taken in.
type binding struct {
	open    int
	refuses bool // what is open has verdicts
	done    chan bindResult
}

type bindResult struct {
	ds, stale []Decision
	err       error
}

func (b *binding) start(ctx context.Context, to Binder, ds []Decision) {
	b.open++
	b.refuses = refuses(ds)
	go func() {
		stale, err := to.Bind(ctx, ds)
		b.done <- bindResult{ds, stale, err}
	}()
}

// takes reports whether there is a place for a batch.
func (b *binding) takes(ds []Decision) bool {
	if b.open == 0 {
		return true
	}
	return len(ds) > 0 && b.open < bindsAtOnce && !b.refuses && !refuses(ds)
}

func refuses(ds []Decision) bool {
	return slices.ContainsFunc(ds, func(d Decision) bool { return d.NodeID == "" })
}

// wait waits for the batches that are being bound, whose outcome nobody needs any more.
func (b *binding) wait() {
	for ; b.open > 0; b.open-- {
		<-b.done
	}
}

// bind starts to bind a batch once there is a place for it. Without one it waits until
// all is bound. It tells that an earlier one has failed.
func (l *loop) bind(ctx context.Context, ds []Decision) error {
	for i := range ds {
		if d := &ds[i]; d.NodeID != "" {
			l.bound[d.PodID] = assumption{incarnation: d.Incarnation, nodeID: d.NodeID, seen: d.seen}
		}
	}
	for !l.binding.takes(ds) {
		l.bindEnded(ctx, <-l.binding.done)
	}
	if err := l.bindErr; err != nil {
		for l.binding.open > 0 { // before anything is taken in
			l.bindEnded(ctx, <-l.binding.done)
		}
		l.bindErr = nil
		l.unmake(ds)
		return err
	}
	if len(ds) > 0 {
		l.binding.start(ctx, l.binder, ds)
	}
	return nil
}

// bindEnded settles a batch. That it failed is told by the next bind.
func (l *loop) bindEnded(ctx context.Context, r bindResult) {
	l.binding.open--
	if r.err != nil {
		l.bindErr = r.err
		l.unmake(r.ds)
		return
	}
	l.settled(ctx, r.ds, r.stale)
}

// settled notes what was bound. A stale decision is undone and its pod parked: the
// change that made it stale will arrive by the feed and free it, unless it has arrived.
// Nothing will tell of its room, which others may wait for.
func (l *loop) settled(ctx context.Context, ds, stale []Decision) {
	late := make(map[string]bool, len(stale))
	for _, d := range stale {
		late[d.PodID] = true
	}
	for i := range ds {
		d := &ds[i]
		switch {
		case !l.stands(d):
		case late[d.PodID]:
			if d.NodeID != "" {
				l.news.undone(l.x.pods[d.PodID])
				l.soon()
			}
			l.undo(d)
			l.parkStale(d)
		case d.Verdict != nil:
			l.verdicts[d.PodID] = said(d)
		default:
			delete(l.verdicts, d.PodID)
			delete(l.parked, d.PodID)
		}
	}
	if len(late) > 0 {
		l.log.DebugContext(ctx, "decisions came too late", slog.Int("stale", len(late)), slog.Int("decisions", len(ds)))
	}
}

// stands reports whether the index is still as a decision has left it. What happened to
// its pod since then has undone it already.
func (l *loop) stands(d *Decision) bool {
	if d.NodeID == "" {
		return true // nothing is taken in before such a batch is bound
	}
	a, ok := l.bound[d.PodID]
	return ok && a.incarnation == d.Incarnation
}

// undo takes a decision out of the index. The pod becomes what was taken in of it last: the
// read model may be ahead of that, and what is still on its way would take it back.
func (l *loop) undo(d *Decision) {
	pods := l.st.Pods.Snapshot()
	if a, ok := l.bound[d.PodID]; ok {
		d.seen = a.seen
	}
	delete(l.bound, d.PodID)
	l.x.putPod(d.seen)
	for _, v := range d.Victims {
		if p, ok := pods.Get(v.PodID); ok {
			l.x.putPod(&p)
		}
	}
}

// unmake undoes decisions that could not be bound: nothing of them is assumed. What
// was bound after all comes back as stale.
func (l *loop) unmake(ds []Decision) {
	for i := range ds {
		if d := &ds[i]; l.stands(d) {
			l.undo(d)
			delete(l.parked, d.PodID)
			l.active[d.PodID] = struct{}{}
		}
	}
}
