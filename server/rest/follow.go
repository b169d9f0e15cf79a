package rest

import (
	"context"
	"iter"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// A follower asks again for output that its node did not have, when nothing about the
// pod has changed: soon at first, then less and less often.
const (
	followRetry   = 500 * time.Millisecond
	followRetryIn = 4 * time.Second // at most
)

// followLogs goes on for as long as the pod lives: it waits until a node has
// begun with the pod, and after a restart of the node's agent or a move to
// another node it continues with the output there.
func (s *server) followLogs(ctx context.Context, pod api.Pod, open wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		ctx, cancel := s.untilStopping(ctx)
		defer cancel(nil)
		f := follower{s: s, pod: pod, open: open, cut: open.After != nil, yield: yield}
		_, f.known = s.Store.Pods.Snapshot().Get(pod.ID)
		changed := s.Store.Pods.Notify(ctx)
		wait := followRetry
		for {
			at := f.open.After
			if f.read(ctx) || f.ended(ctx) {
				return
			}
			if f.open.After != at {
				wait = followRetry
			}
			retry := time.NewTimer(wait)
			select {
			case <-changed:
			case <-retry.C:
				wait = min(2*wait, followRetryIn)
			case <-ctx.Done():
			}
			retry.Stop()
			if err := context.Cause(ctx); err != nil {
				if fault.CodeOf(err) == fault.Unavailable {
					yield(wire.LogsChunk{}, err) // the reader may follow on at another server
				}
				return
			}
			if !f.look() {
				return
			}
		}
	}
}

// untilStopping ends ctx when the server stops, so that readers can go on elsewhere.
func (s *server) untilStopping(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := ctx.Done()
	go func() {
		select {
		case <-s.Stopping:
			cancel(fault.New(fault.Unavailable, "the server is stopping: follow on at another one"))
		case <-done:
		}
	}()
	return ctx, cancel
}

// follower is one reader of a pod's output, over all nodes and attempts.
type follower struct {
	s     *server
	pod   api.Pod
	known bool // the read model has shown the pod
	open  wire.LogsOpen
	cut   bool // the last stream was cut off after lines had been sent
	yield func(wire.LogsChunk, error) bool
}

// read sends what the pod's node has, until its stream ends. It reports whether
// the reader has gone or been told an error.
func (f *follower) read(ctx context.Context) (done bool) {
	if f.pod.NodeID == nil || f.pod.Status.Terminal() {
		return false
	}
	f.open.StreamID, f.open.Incarnation = api.NewID(), f.pod.Incarnation
	for chunk, err := range f.s.Logs.OpenLogs(ctx, *f.pod.NodeID, f.open) {
		if err != nil {
			if ctx.Err() != nil {
				return false
			}
			switch fault.CodeOf(err) {
			case fault.Unavailable, fault.NotFound: // not yet, or not any more
				f.cut = f.cut || f.shown() && fault.CodeOf(err) == fault.Unavailable
				return false
			default:
				f.yield(chunk, err)
				return true
			}
		}
		if !f.pass(chunk) {
			return true
		}
	}
	return false
}

// shown reports whether any lines were sent.
func (f *follower) shown() bool { return f.open.After != nil }

// pass sends a chunk. After a stream was cut off, the same ring goes on exactly behind
// the last line and marks what it has lost; of another ring nobody knows.
func (f *follower) pass(chunk wire.LogsChunk) bool {
	if chunk.Ring == "" && f.shown() { // a mark of this server, which has no place
		return f.yield(chunk, nil)
	}
	if f.cut && chunk.Ring != f.open.After.Ring {
		mark := notice("the node's agent was lost or the pod has moved: lines before this may be missing")
		chunk.Lines = append([]api.LogLine{mark}, chunk.Lines...)
	}
	f.cut = false
	// The next stream goes on behind the last line of this one.
	f.open.After, f.open.Tail = &wire.LogPosition{Ring: chunk.Ring, Next: chunk.Next}, -1
	return f.yield(chunk, nil)
}

// ended reports whether the pod is over. Of one that ended before anything was
// read, it sends what is kept, and of one whose stream was cut off, what is left.
func (f *follower) ended(ctx context.Context) bool {
	if !f.pod.Status.Terminal() {
		return false
	}
	if !f.shown() {
		f.open.Follow = false
		for chunk, err := range f.s.keptLogs(ctx, f.pod, f.open, f.s.storedOnce(ctx, []api.Pod{f.pod}, f.open.Previous)) {
			if !f.yield(chunk, err) || err != nil {
				return true
			}
		}
		return true
	}
	if f.cut && !f.rest(ctx) {
		f.yield(wire.LogsChunk{Lines: []api.LogLine{
			notice("the connection to the node was lost before the pod ended: its last lines may be missing"),
		}}, nil)
	}
	return true
}

// rest sends what the node still has of a pod that ended while its stream was cut off;
// false says that it has nothing that goes on there.
func (f *follower) rest(ctx context.Context) bool {
	if f.pod.NodeID == nil {
		return false
	}
	f.open.Follow, f.open.StreamID, f.open.Incarnation = false, api.NewID(), f.pod.Incarnation
	ring := f.open.After.Ring
	for chunk, err := range f.s.Logs.OpenLogs(ctx, *f.pod.NodeID, f.open) {
		if err != nil {
			return false
		}
		if !f.pass(chunk) {
			return true
		}
	}
	return f.open.After.Ring == ring
}

// look takes the pod's newest state; false means that it was removed.
func (f *follower) look() bool {
	pod, ok := f.s.Store.Pods.Snapshot().Get(f.pod.ID)
	if !ok {
		return !f.known // a pod just made may not have arrived yet
	}
	f.pod, f.known = pod, true
	return true
}
