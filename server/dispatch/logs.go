package dispatch

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	// logWindow is how many bytes of lines a node may send to one reader before that has
	// taken them in: what waits for a slow reader waits in the node's ring.
	logWindow     = 256 << 10
	firstLogAfter = 15 * time.Second
)

// stream is one reader of a pod's output. The session's reader never waits for it: a
// node keeps to the window, and what one sends beyond it is dropped and counted.
type stream struct {
	window int
	wake   chan struct{} // holds one

	mu      sync.Mutex
	chunks  []wire.LogsChunk
	bytes   int
	dropped int
	end     *wire.LogsEnd
}

func newStream(window int) *stream {
	return &stream{window: window, wake: make(chan struct{}, 1)}
}

func (st *stream) rouse() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// push takes a chunk in. The last one that a node's window allows may exceed it.
func (st *stream) push(c wire.LogsChunk) {
	st.mu.Lock()
	if cost := c.Cost(); st.bytes < 2*st.window {
		st.chunks = append(st.chunks, c)
		st.bytes += cost
	} else {
		st.dropped += len(c.Lines)
	}
	st.mu.Unlock()
	st.rouse()
}

func (st *stream) finish(end wire.LogsEnd) {
	st.mu.Lock()
	st.end = &end
	st.mu.Unlock()
	st.rouse()
}

// take gives what waits; the end counts once no chunk is left.
func (st *stream) take() (chunks []wire.LogsChunk, end *wire.LogsEnd) {
	st.mu.Lock()
	defer st.mu.Unlock()
	chunks, st.chunks, st.bytes = st.chunks, nil, 0
	if n := st.dropped; n > 0 && len(chunks) > 0 {
		// A chunk of its own: the lines of the others are counted back from its end.
		chunks = append(chunks, wire.LogsChunk{Lines: []api.LogLine{{Time: time.Now().UTC(), Stream: api.StreamLog, Dropped: n}}})
		st.dropped = 0
	}
	return chunks, st.end
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
		if o.Window <= 0 || o.Window > logWindow {
			o.Window = logWindow
		}
		st := newStream(o.Window)
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
	full := len(s.streams) >= wire.MaxLogStreams
	if !full {
		s.streams[o.StreamID] = st
	}
	s.mu.Unlock()
	if full {
		return fault.New(fault.RateLimited, "too many readers follow the logs of this node")
	}
	// Many streams may open and close at once: they wait for room.
	s.reply(wire.TypeLogsOpen, "", o)
	return nil
}

// closeStream tells the node that the reader has gone, unless the node ended it.
func (s *session) closeStream(id string) {
	s.mu.Lock()
	_, open := s.streams[id]
	delete(s.streams, id)
	s.mu.Unlock()
	if open {
		s.reply(wire.TypeLogsClose, "", wire.LogsClose{StreamID: id})
	}
}

// relay hands chunks on until the stream ends.
func (s *session) relay(ctx context.Context, o wire.LogsOpen, st *stream, yield func(wire.LogsChunk, error) bool) {
	first := time.NewTimer(firstLogAfter)
	defer first.Stop()
	silence := first.C
	taken := 0
	for {
		select {
		case <-st.wake:
			silence = nil
			chunks, end := st.take()
			for _, c := range chunks {
				if !yield(c, nil) {
					return
				}
				if taken += c.Cost(); end == nil && taken >= o.Window/4 {
					s.reply(wire.TypeLogsMore, "", wire.LogsMore{StreamID: o.StreamID, Bytes: taken})
					taken = 0
				}
			}
			if end == nil {
				continue
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
	if st := s.streamOf(c.StreamID); st != nil { // else its reader has just gone
		st.push(c)
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
		st.finish(end)
	}
	return nil
}
