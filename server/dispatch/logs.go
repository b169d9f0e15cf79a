package dispatch

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	streamBuffer  = 256 // chunks that wait for one reader of logs
	firstLogAfter = 15 * time.Second
)

// stream is one reader of a pod's output. The session's reader never waits for
// it: what finds no room is dropped and counted.
type stream struct {
	chunks  chan wire.LogsChunk
	end     chan wire.LogsEnd // holds one
	dropped atomic.Int64
}

// OpenLogs reads the output of a pod from its node. The sequence ends with the
// output, with ctx, or with its first error; leaving the loop closes the stream
// at the node. A node that is not connected here is Unavailable.
func (d *Dispatcher) OpenLogs(ctx context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		s := d.nodeSession(nodeID)
		if s == nil {
			yield(wire.LogsChunk{}, fault.New(fault.Unavailable, "the pod's node is not connected"))
			return
		}
		o.StreamID = api.NewID()
		st := &stream{chunks: make(chan wire.LogsChunk, streamBuffer), end: make(chan wire.LogsEnd, 1)}
		if err := s.openStream(o, st); err != nil {
			yield(wire.LogsChunk{}, err)
			return
		}
		defer s.closeStream(o.StreamID)
		s.relay(ctx, o, st, yield)
	}
}

func (s *session) openStream(o wire.LogsOpen, st *stream) error {
	s.mu.Lock()
	full := len(s.streams) >= maxStreams
	if !full {
		s.streams[o.StreamID] = st
	}
	s.mu.Unlock()
	if full {
		return fault.New(fault.RateLimited, "too many readers follow the logs of this node")
	}
	s.send(wire.TypeLogsOpen, o)
	return nil
}

// closeStream tells the node that the reader has gone, unless the node ended it.
func (s *session) closeStream(id string) {
	s.mu.Lock()
	_, open := s.streams[id]
	delete(s.streams, id)
	s.mu.Unlock()
	if open {
		s.send(wire.TypeLogsClose, wire.LogsClose{StreamID: id})
	}
}

// relay hands chunks on until the stream ends.
func (s *session) relay(ctx context.Context, o wire.LogsOpen, st *stream, yield func(wire.LogsChunk, error) bool) {
	first := time.NewTimer(firstLogAfter)
	defer first.Stop()
	silence := first.C
	for {
		select {
		case c := <-st.chunks:
			silence = nil
			if !yield(st.marked(c), nil) {
				return
			}
		case end := <-st.end:
			for len(st.chunks) > 0 {
				if !yield(st.marked(<-st.chunks), nil) {
					return
				}
			}
			if end.Code != "" {
				yield(wire.LogsChunk{}, fault.New(fault.Code(end.Code), "%s", end.Message))
			}
			return
		case <-silence:
			silence = nil
			if !o.Follow {
				yield(wire.LogsChunk{}, fault.New(fault.Timeout, "the pod's node does not answer"))
				return
			}
		case <-s.done:
			yield(wire.LogsChunk{}, fault.New(fault.Unavailable, "the pod's node has lost its connection"))
			return
		case <-ctx.Done():
			yield(wire.LogsChunk{}, context.Cause(ctx))
			return
		}
	}
}

// marked puts a mark for dropped lines before the lines that came after them.
func (st *stream) marked(c wire.LogsChunk) wire.LogsChunk {
	if n := st.dropped.Swap(0); n > 0 {
		c.Lines = append([]api.LogLine{{Time: time.Now().UTC(), Stream: "log", Dropped: int(n)}}, c.Lines...)
	}
	return c
}

func (s *session) streamOf(id string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

func (s *session) onLogsChunk(_ context.Context, e wire.Envelope) error {
	c, err := decode[wire.LogsChunk](e)
	if err != nil {
		return err
	}
	st := s.streamOf(c.StreamID)
	if st == nil {
		return nil // its reader has just gone
	}
	select {
	case st.chunks <- c:
	default:
		st.dropped.Add(int64(len(c.Lines)))
	}
	return nil
}

func (s *session) onLogsEnd(_ context.Context, e wire.Envelope) error {
	end, err := decode[wire.LogsEnd](e)
	if err != nil {
		return err
	}
	s.mu.Lock()
	st := s.streams[end.StreamID]
	delete(s.streams, end.StreamID)
	s.mu.Unlock()
	if st != nil {
		st.end <- end
	}
	return nil
}
