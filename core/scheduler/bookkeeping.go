package scheduler

import (
	"context"
	"log/slog"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

func holds(p *api.Pod) bool { return p.NodeID != nil && pod.HoldsNode(p.Status) }

// takePods fills the scratch list of pods and forgets assumptions, marks and
// verdicts of pods that have moved on.
func (l *loop) takePods(pods store.View[api.Pod]) {
	l.pods = l.pods[:0]
	clear(l.holders)
	waiting := 0
	for id, p := range pods.All() {
		if p.Status != api.PodPending {
			delete(l.bound, id)
			if holds(&p) {
				l.holders[id] = struct{}{}
				l.pods = append(l.pods, p)
			}
			continue
		}
		waiting++
		if a, ok := l.bound[id]; ok {
			if a.incarnation == p.Incarnation {
				p.Status, p.NodeID = api.PodScheduled, &a.nodeID
				l.holders[id] = struct{}{}
				l.pods = append(l.pods, p)
				continue
			}
			delete(l.bound, id)
		}
		if m, ok := l.parked[id]; ok && m == markOf(&p) {
			continue
		}
		l.pods = append(l.pods, p)
	}
	if len(l.bound)+len(l.parked)+len(l.verdicts) > 3*waiting {
		l.forget(pods)
	}
}

// forget drops what is kept about pods that are gone or no longer pending.
func (l *loop) forget(pods store.View[api.Pod]) {
	pending := func(id string) bool {
		p, ok := pods.Get(id)
		return ok && p.Status == api.PodPending
	}
	for id := range l.bound {
		if !pending(id) {
			delete(l.bound, id)
		}
	}
	for id := range l.parked {
		if !pending(id) {
			delete(l.parked, id)
		}
	}
	for id := range l.verdicts {
		if !pending(id) {
			delete(l.verdicts, id)
		}
	}
}

// news parks what has no node and drops verdicts that are stored already.
func (l *loop) news(ds []Decision) []Decision {
	fresh := ds[:0]
	for _, d := range ds {
		if d.Verdict != nil {
			l.parked[d.PodID] = d.seen
			if l.verdicts[d.PodID] == said(d.Verdict) {
				continue
			}
		}
		fresh = append(fresh, d)
	}
	return fresh
}

func said(v *api.Verdict) string { return v.Reason + " " + v.Message }

// bind binds one batch. A stale decision's pod is parked: the change that made the
// decision stale will arrive by the feed and free it. After an error nothing is
// assumed; what was bound after all comes back as stale.
func (l *loop) bind(ctx context.Context, ds []Decision) error {
	stale, err := l.binder.Bind(ctx, ds)
	if err != nil {
		return err
	}
	late := make(map[string]bool, len(stale))
	for _, d := range stale {
		late[d.PodID] = true
	}
	for _, d := range ds {
		switch {
		case late[d.PodID]:
			l.parked[d.PodID] = d.seen
		case d.Verdict != nil:
			l.verdicts[d.PodID] = said(d.Verdict)
		default:
			l.bound[d.PodID] = assumption{incarnation: d.Incarnation, nodeID: d.NodeID}
			delete(l.verdicts, d.PodID)
		}
	}
	if len(late) > 0 {
		l.log.DebugContext(ctx, "decisions came too late", slog.Int("stale", len(late)), slog.Int("decisions", len(ds)))
	}
	return nil
}
