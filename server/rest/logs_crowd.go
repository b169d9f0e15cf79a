package rest

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	// beatEvery is how often a resumable stream shows that it lives.
	beatEvery = 15 * time.Second
	// newFor is how far the read model may be behind a pod that has just been made.
	newFor = 10 * time.Second
	// againAfter is when the output of a pod is asked for again whose node has refused.
	againAfter = 5 * time.Second
)

// crowd follows the output of several pods as one sequence. Each pod has a reader, which
// waits for its turn with every chunk: so one that floods costs the others no more than
// that, and what waits for a slow reader waits at the nodes.
type crowd struct {
	s     *server
	who   caller
	q     logsQuery
	began time.Time // by the database's clock
	out   chan crowdStep
	group sync.WaitGroup

	// The rest belongs to the loop.
	readers map[string]*crowdReader
	left    map[string]wire.LogPosition // how far pods were read that are read no more
	waiting map[string]api.Pod          // for which there is no place
	lost    map[string]bool             // whose node is lost
}

// crowdReader reads one pod.
type crowdReader struct {
	podID  string
	cancel context.CancelFunc
	at     *wire.LogPosition // behind the last line that was sent; the loop's
}

// crowdStep is what a reader hands over: lines, or that there are no more.
type crowdStep struct {
	from  *crowdReader
	chunk wire.LogsChunk
	over  bool
}

// followMany gives the output of pods as it comes. Pods that begin to match join, and
// those that have ended leave; it ends when all pods are named and have ended.
func (s *server) followMany(ctx context.Context, who caller, q logsQuery, pods []api.Pod) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		c := &crowd{
			s: s, who: who, q: q, began: s.DB.Time(), out: make(chan crowdStep),
			readers: map[string]*crowdReader{}, left: map[string]wire.LogPosition{}, waiting: map[string]api.Pod{}, lost: map[string]bool{},
		}
		maps.Copy(c.left, q.after)
		defer c.group.Wait()
		ctx, cancel := s.untilStopping(ctx)
		defer cancel(nil)
		for _, p := range pods {
			c.begin(ctx, p, false)
		}
		for id := range q.after {
			if c.readers[id] == nil && !yield(noticeOf(id, api.LogRemoved, "the pod has been removed, or is no longer yours to see"), nil) {
				return
			}
		}
		if q.resumable && !yield(wire.LogsChunk{}, nil) { // the stream has begun
			return
		}
		c.run(ctx, yield)
	}
}

func (c *crowd) run(ctx context.Context, yield func(wire.LogsChunk, error) bool) {
	var beats <-chan time.Time
	if c.q.resumable {
		ticker := time.NewTicker(beatEvery)
		defer ticker.Stop()
		beats = ticker.C
	}
	events := c.s.Store.Pods.Watch(ctx)
	for c.q.matching || len(c.readers) > 0 {
		var chunks []wire.LogsChunk
		select {
		case step := <-c.out:
			chunks = c.take(ctx, step)
		case e, open := <-events:
			if open && e.Type == store.Put {
				chunks = c.changed(ctx, *e.Value)
			}
		case <-beats:
			chunks = append(chunks, wire.LogsChunk{})
		case <-ctx.Done():
		}
		if err := context.Cause(ctx); err != nil {
			if fault.CodeOf(err) == fault.Unavailable {
				yield(wire.LogsChunk{}, err) // the reader may follow on at another server
			}
			return
		}
		for _, chunk := range chunks {
			if !yield(chunk, nil) {
				return
			}
		}
	}
}

// begin reads a pod: from where it was read before; else, where it has joined because it
// is new, from its first line.
func (c *crowd) begin(ctx context.Context, p api.Pod, joined bool) {
	ctx, cancel := context.WithCancel(ctx)
	open := c.q.opening(p.ID)
	if at, before := c.left[p.ID]; before {
		open.After, open.Tail, open.Since = &at, -1, nil
	} else if joined && p.CreatedAt.After(c.began.Add(-newFor)) {
		open.Tail, open.Since = -1, nil
	}
	r := &crowdReader{podID: p.ID, cancel: cancel, at: open.After}
	delete(c.left, p.ID)
	delete(c.waiting, p.ID)
	c.readers[p.ID] = r
	c.group.Go(func() {
		defer cancel()
		c.read(ctx, r, p, open)
		c.send(ctx, crowdStep{from: r, over: true})
	})
}

// read sends the output of a pod until it has ended.
func (c *crowd) read(ctx context.Context, r *crowdReader, p api.Pod, open wire.LogsOpen) {
	for told := false; ; told = true {
		var refused error
		for chunk, err := range c.s.logsOf(ctx, p, open) {
			if err != nil {
				refused = err
				break
			}
			if chunk.Ring != "" {
				open.After, open.Tail, open.Since = &wire.LogPosition{Ring: chunk.Ring, Next: chunk.Next}, -1, nil
			}
			if !c.send(ctx, crowdStep{from: r, chunk: c.q.tag(chunk, p.ID)}) {
				return
			}
		}
		if refused == nil || ctx.Err() != nil {
			return
		}
		select {
		case <-c.s.Stopping: // which ends everything
			<-ctx.Done()
			return
		default:
		}
		if now, ok := c.s.Store.Pods.Snapshot().Get(p.ID); ok {
			p = now
		}
		word := noticeOf(p.ID, "", "its output cannot be read: %s", c.s.fail(ctx, refused).body.Error.Message)
		if !told && !c.send(ctx, crowdStep{from: r, chunk: word}) || p.Status.Terminal() {
			return
		}
		again := time.NewTimer(againAfter)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return
		}
	}
}

func (c *crowd) send(ctx context.Context, step crowdStep) bool {
	select {
	case c.out <- step:
		return true
	case <-ctx.Done():
		return false
	}
}

// take gives what a reader has handed over, unless it was told to leave meanwhile.
func (c *crowd) take(ctx context.Context, step crowdStep) []wire.LogsChunk {
	r := step.from
	switch {
	case c.readers[r.podID] != r:
		return nil
	case step.over:
		return c.leave(ctx, r)
	}
	if step.chunk.Ring != "" {
		r.at = &wire.LogPosition{Ring: step.chunk.Ring, Next: step.chunk.Next}
	}
	return []wire.LogsChunk{step.chunk}
}

// drop reads a pod no more, and remembers how far it was read.
func (c *crowd) drop(r *crowdReader) {
	r.cancel()
	delete(c.readers, r.podID)
	delete(c.lost, r.podID)
	if len(c.left) >= 2*api.MaxLogPods { // those that have ended never begin anew
		view := c.s.Store.Pods.Snapshot()
		maps.DeleteFunc(c.left, func(id string, _ wire.LogPosition) bool {
			p, ok := view.Get(id)
			return !ok || p.Status.Terminal()
		})
	}
	if r.at != nil {
		c.left[r.podID] = *r.at
	}
}

// leave ends the reading of a pod, and gives its place to one that waits.
func (c *crowd) leave(ctx context.Context, r *crowdReader) (chunks []wire.LogsChunk) {
	c.drop(r)
	switch p, ok := c.s.Store.Pods.Snapshot().Get(r.podID); {
	case !ok:
		chunks = append(chunks, noticeOf(r.podID, api.LogRemoved, "the pod has been removed"))
	case p.Status.Terminal():
		chunks = append(chunks, noticeOf(r.podID, api.LogEnded, "the pod has ended: %s", statusText(p)))
	}
	return append(chunks, c.promote(ctx)...)
}

// promote gives a free place to a pod that waits for one.
func (c *crowd) promote(ctx context.Context) []wire.LogsChunk {
	next, ok := c.next()
	if !ok || len(c.readers) >= c.q.maxPods {
		return nil
	}
	c.begin(ctx, next, true)
	return []wire.LogsChunk{noticeOf(next.ID, api.LogJoined, "the pod has joined")}
}

// next is the oldest pod that waits and still is to be followed.
func (c *crowd) next() (api.Pod, bool) {
	view := c.s.Store.Pods.Snapshot()
	var all []api.Pod
	for id := range c.waiting {
		if p, ok := view.Get(id); ok && c.wanted(p) && !p.Status.Terminal() {
			all = append(all, p)
		} else {
			delete(c.waiting, id)
		}
	}
	if len(all) == 0 {
		return api.Pod{}, false
	}
	return slices.MinFunc(all, func(a, b api.Pod) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) }), true
}

// wanted reports whether a pod is one of those to follow and its reader may see it, by
// the rights of this moment.
func (c *crowd) wanted(p api.Pod) bool {
	if !c.q.matching {
		return slices.Contains(c.q.ids, p.ID)
	}
	who := c.who
	who.Identity = c.s.rolesNow(who.Identity)
	return c.q.follows(p) && c.s.seesPod(who)(p)
}

// changed takes in the newest state of a pod.
func (c *crowd) changed(ctx context.Context, p api.Pod) []wire.LogsChunk {
	r, wanted := c.readers[p.ID], c.wanted(p)
	switch {
	case r != nil && c.q.matching && !wanted && !p.Status.Terminal():
		// No more of its lines; what its reader holds is not waited for.
		c.drop(r)
		return append([]wire.LogsChunk{noticeOf(p.ID, api.LogLeft, "the pod is not one of these any more")}, c.promote(ctx)...)
	case r != nil:
		return c.lostOrFound(p)
	case !wanted || p.Status.Terminal():
		delete(c.waiting, p.ID)
		return nil
	case len(c.readers) < c.q.maxPods:
		c.begin(ctx, p, true)
		return []wire.LogsChunk{noticeOf(p.ID, api.LogJoined, "the pod has joined")}
	}
	if _, told := c.waiting[p.ID]; told || len(c.waiting) >= api.MaxLogPods {
		return nil
	}
	c.waiting[p.ID] = p
	return []wire.LogsChunk{noticeOf(p.ID, api.LogWaits, "not followed: %d pods are, which is the most that was asked for; it waits for a place", len(c.readers))}
}

// lostOrFound tells that the node of a pod is lost, once.
func (c *crowd) lostOrFound(p api.Pod) []wire.LogsChunk {
	switch is := p.Status == api.PodUnknown; {
	case is && !c.lost[p.ID]:
		c.lost[p.ID] = true
		return []wire.LogsChunk{noticeOf(p.ID, api.LogLost, "its node is lost: its output goes on when the node is back or the pod runs elsewhere")}
	case !is:
		delete(c.lost, p.ID)
	}
	return nil
}

func statusText(p api.Pod) string {
	if p.Reason == "" {
		return string(p.Status)
	}
	return string(p.Status) + " (" + p.Reason + ")"
}
