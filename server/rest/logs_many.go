package rest

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// manyLogs streams the output of several pods as podLogs does that of one. Each line
// names its pod.
func (s *server) manyLogs(c *gin.Context) {
	if !s.admit(c, may(access.Read, access.Pod)) {
		return
	}
	who := callerFrom(c.Request.Context())
	before := s.rightsOf(who.UserID) // of what is found behind this, nothing is theirs by older rights
	q, err := readLogsQuery(c)
	var pods []api.Pod
	if err == nil {
		pods, err = s.podsOf(c.Request.Context(), who, q)
	}
	if err == nil {
		err = s.watching.begin(who.UserID)
	}
	if err != nil {
		s.abort(c, err)
		return
	}
	defer s.watching.end(who.UserID)
	s.streamLogs(c, s.whileRightsLast(c.Request.Context(), who, before, func(ctx context.Context) iter.Seq2[wire.LogsChunk, error] {
		if q.open.Follow {
			return s.followMany(ctx, who, q, pods)
		}
		return s.keptOfMany(ctx, q, pods)
	}))
}

// whileRightsLast ends chunks, with the reason as their last word, when the session of
// their reader ends, and with Gone when their roles or memberships change: then other
// pods are theirs, and they ask again.
func (s *server) whileRightsLast(ctx context.Context, who caller, before rights, chunks func(context.Context) iter.Seq2[wire.LogsChunk, error]) iter.Seq2[wire.LogsChunk, error] {
	return s.whileReviewed(ctx, who, chunks, func(ctx context.Context, end context.CancelCauseFunc) {
		s.reviewWatch(ctx, end, who, before)
	})
}

// podsOf gives the pods that a query means and that its reader may see. Those that are
// named are all there; of those that match, who follows is interested in what lives, or
// has ended since the time that they gave.
func (s *server) podsOf(ctx context.Context, who caller, q logsQuery) ([]api.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	switch {
	case !q.matching:
		return s.namedPods(ctx, who, q)
	case q.open.Follow:
		return s.livingPods(ctx, who, q)
	}
	in := &listPodsInput{Namespace: q.namespace, LabelSelector: q.selector.String()}
	in.Page, in.PageSize = 1, q.maxPods
	list, err := s.listPods(ctx, who, in)
	if err == nil && list.Total > len(list.Pods) {
		err = tooManyPods("labelSelector", list.Total, q.maxPods)
	}
	return list.Pods, err
}

func (s *server) namedPods(ctx context.Context, who caller, q logsQuery) ([]api.Pod, error) {
	found, err := s.findPods(ctx, who, q.ids)
	if err != nil {
		return nil, err
	}
	pods := make([]api.Pod, 0, len(q.ids))
	for _, id := range q.ids {
		p, ok := found[id]
		if _, had := q.after[id]; !ok && had && len(q.ids) > 1 {
			continue // removed since the reader had it: the others go on
		}
		if !ok {
			return nil, fault.New(fault.NotFound, "pod %s not found", id)
		}
		pods = append(pods, p)
	}
	return pods, nil
}

// findPods gives those of the named pods that the caller may see, by id.
func (s *server) findPods(ctx context.Context, who caller, ids []string) (map[string]api.Pod, error) {
	found, err := s.DB.GetPods(ctx, who.Identity, ids)
	if err == nil {
		return found, nil
	}
	return remembered(s, who, err, func() (map[string]api.Pod, error) {
		known, sees, view := map[string]api.Pod{}, s.seesPod(who), s.Store.Pods.Snapshot()
		for _, id := range ids {
			if p, ok := view.Get(id); ok && sees(p) {
				known[id] = p
			}
		}
		return known, nil
	})
}

// livingPods asks the read model, which also tells of those that come later.
func (s *server) livingPods(ctx context.Context, who caller, q logsQuery) ([]api.Pod, error) {
	var pods []api.Pod
	sees, view := s.seesPod(who), s.Store.Pods.Snapshot()
	for _, p := range view.All() {
		if q.follows(p) && sees(p) {
			pods = append(pods, p)
		}
	}
	var unknown []string // it may be behind the one of the server that the reader was at
	for id := range q.after {
		if _, known := view.Get(id); !known {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		found, err := s.findPods(ctx, who, unknown)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			if q.follows(p) {
				pods = append(pods, p)
			}
		}
	}
	if len(pods) <= q.maxPods {
		return pods, nil
	}
	if len(q.after) == 0 {
		return nil, tooManyPods("labelSelector", len(pods), q.maxPods)
	}
	// Who goes on is not refused for what has come in the meantime: it waits for a place.
	slices.SortFunc(pods, func(a, b api.Pod) int {
		_, hadA := q.after[a.ID]
		_, hadB := q.after[b.ID]
		switch {
		case hadA && !hadB:
			return -1
		case hadB && !hadA:
			return 1
		}
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return pods[:q.maxPods], nil
}

// follows reports whether a pod is one of those to follow, whoever may see it.
func (q logsQuery) follows(p api.Pod) bool {
	if p.Namespace != q.namespace && q.namespace != "" || !q.selector.Matches(p.Labels) {
		return false
	}
	if !p.Status.Terminal() {
		return true
	}
	_, had := q.after[p.ID]
	return had || q.open.Since != nil && p.StoppedAt != nil && !p.StoppedAt.Before(*q.open.Since)
}

// opening is what the node of one pod is asked.
func (q logsQuery) opening(podID string) wire.LogsOpen {
	o := q.open
	o.StreamID, o.PodID = api.NewID(), podID
	if at, had := q.after[podID]; had {
		// All that comes behind it, of whatever time.
		o.After, o.Tail, o.Since = &at, -1, nil
	}
	return o
}

// tag says of each line whose it is, and where it stands.
func (q logsQuery) tag(c wire.LogsChunk, podID string) wire.LogsChunk {
	behind := c.Next
	for i := len(c.Lines) - 1; i >= 0; i-- {
		l := &c.Lines[i]
		l.PodID = podID
		if l.Notice != "" {
			continue
		}
		if q.resumable && c.Ring != "" {
			l.Position = positionOf(c.Ring, behind)
		}
		behind -= min(behind, uint64(max(1, l.Dropped))) //nolint:gosec // not negative
	}
	return c
}

// noticeOf is a notice among the lines of one pod of several.
func noticeOf(podID string, event api.LogEvent, format string, args ...any) wire.LogsChunk {
	l := notice(fmt.Sprintf(format, args...))
	l.PodID, l.Event = podID, event
	return wire.LogsChunk{Lines: []api.LogLine{l}}
}

// keptOfMany gives what is kept of several pods in the order of its times, and holds no
// more of each than its window. Of pods that cannot be read it says so, and fails at the
// end.
func (s *server) keptOfMany(ctx context.Context, q logsQuery, pods []api.Pod) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		var readers sync.WaitGroup
		defer readers.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stored := s.storedOnce(ctx, pods, q.open.Previous)
		m := merger{explain: func(err error) string { return s.fail(ctx, err).body.Error.Message }, yield: yield}
		for _, p := range pods {
			from := make(chan kept)
			readers.Go(func() {
				defer close(from)
				for chunk, err := range s.keptLogs(ctx, p, q.opening(p.ID), stored) {
					select {
					case from <- kept{chunk: q.tag(chunk, p.ID), err: err}:
					case <-ctx.Done():
						return
					}
				}
			})
			m.pods = append(m.pods, &mergedPod{id: p.ID, from: from})
		}
		if m.run() && m.failure != nil {
			yield(wire.LogsChunk{}, fault.Wrap(m.failure, fault.CodeOf(m.failure), "the output of %d of %d pods could not be read: %s",
				m.failed, len(pods), m.explain(m.failure)))
		}
	}
}
