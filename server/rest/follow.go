package rest

import (
	"context"
	"iter"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// followRetry is how often a follower asks again for output that its node did
// not have, when nothing about the pod has changed.
const followRetry = time.Second

// followLogs goes on for as long as the pod lives: it waits until a node has
// begun with the pod, and after a restart of the node's agent or a move to
// another node it continues with the output there.
func (s *server) followLogs(ctx context.Context, pod api.Pod, open wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		f := follower{s: s, pod: pod, open: open, yield: yield}
		changed := s.Store.Pods.Notify(ctx)
		retry := time.NewTicker(followRetry)
		defer retry.Stop()
		for {
			if f.read(ctx) || f.ended(ctx) {
				return
			}
			select {
			case <-changed:
			case <-retry.C:
			case <-ctx.Done():
				return
			}
			if !f.look() {
				return
			}
		}
	}
}

// follower is one reader of a pod's output, over all nodes and attempts.
type follower struct {
	s     *server
	pod   api.Pod
	known bool // the read model has shown the pod
	open  wire.LogsOpen
	shown bool // a line was sent
	yield func(wire.LogsChunk, error) bool
}

// read sends what the pod's node has, until its stream ends. It reports whether
// the reader has gone or been told an error.
func (f *follower) read(ctx context.Context) (done bool) {
	if f.pod.NodeID == nil || f.pod.Status.Terminal() {
		return false
	}
	f.open.StreamID = api.NewID()
	for chunk, err := range f.s.Logs.OpenLogs(ctx, *f.pod.NodeID, f.open) {
		if err != nil {
			switch fault.CodeOf(err) {
			case fault.Unavailable, fault.NotFound: // not yet, or not any more
				return false
			default:
				f.yield(chunk, err)
				return true
			}
		}
		if n := len(chunk.Lines); n > 0 {
			// The next stream goes on behind the last line of this one.
			f.shown = true
			since := chunk.Lines[n-1].Time.Add(1)
			f.open.Since, f.open.Tail = &since, -1
		}
		if !f.yield(chunk, nil) {
			return true
		}
	}
	return false
}

// ended reports whether the pod is over. Of one that ended before anything was
// read, it sends what is kept.
func (f *follower) ended(ctx context.Context) bool {
	if !f.pod.Status.Terminal() {
		return false
	}
	if f.shown {
		return true
	}
	f.open.Follow = false
	for chunk, err := range f.s.keptLogs(ctx, f.pod, f.open) {
		if !f.yield(chunk, err) || err != nil {
			return true
		}
	}
	return true
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
