package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	maxChunkBytes = 64 << 10 // of text; stays below a frame however much JSON escapes
	maxChunkLines = 512
	// logPace is how long a stream that has sent all there was waits for more to come
	// together. With many streams it is one frame a millisecond for all of them, so that
	// logs never fill a connection that carries heartbeats too.
	logPace = 10 * time.Millisecond
)

// logStream is one reader of a pod's output.
type logStream struct {
	cancel context.CancelFunc
	more   chan int // bytes that the reader has taken in; holds one sum
}

// allow lets the stream send more bytes. Only the session's reader calls it.
func (s *logStream) allow(bytes int) {
	for {
		select {
		case s.more <- bytes:
			return
		case before := <-s.more:
			bytes += before
		}
	}
}

func (in *inbox) openLogs(ctx context.Context, e wire.Envelope) error {
	var o wire.LogsOpen
	if err := json.Unmarshal(e.Payload, &o); err != nil {
		return fmt.Errorf("read %s: %w", e.Type, err)
	}
	streamCtx, cancel := context.WithCancel(ctx)
	s := &logStream{cancel: cancel, more: make(chan int, 1)}
	if !in.admit(o.StreamID, s) {
		cancel()
		return in.session.send(ctx, wire.TypeLogsEnd, wire.LogsEnd{
			StreamID: o.StreamID, Code: string(fault.RateLimited), Message: "the node serves too many log readers",
		})
	}
	in.wg.Go(func() {
		defer in.forgetStream(o.StreamID)
		in.stream(streamCtx, s, o)
	})
	return nil
}

func (in *inbox) admit(id string, s *logStream) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, taken := in.streams[id]; taken || len(in.streams) >= wire.MaxLogStreams {
		return false
	}
	if in.streams == nil {
		in.streams = map[string]*logStream{}
	}
	in.streams[id] = s
	return true
}

func (in *inbox) closeLogs(e wire.Envelope) error {
	var c wire.LogsClose
	if err := json.Unmarshal(e.Payload, &c); err != nil {
		return fmt.Errorf("read %s: %w", e.Type, err)
	}
	in.forgetStream(c.StreamID)
	return nil
}

func (in *inbox) moreLogs(e wire.Envelope) error {
	var m wire.LogsMore
	if err := json.Unmarshal(e.Payload, &m); err != nil {
		return fmt.Errorf("read %s: %w", e.Type, err)
	}
	in.mu.Lock()
	s := in.streams[m.StreamID]
	in.mu.Unlock()
	if s != nil && m.Bytes > 0 {
		s.allow(m.Bytes)
	}
	return nil
}

func (in *inbox) forgetStream(id string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if s := in.streams[id]; s != nil {
		s.cancel()
		delete(in.streams, id)
	}
}

// pace is how long a stream waits for lines to come together.
func (in *inbox) pace() time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	return max(logPace, time.Duration(len(in.streams))*time.Millisecond)
}

// close ends all streams and waits for them.
func (in *inbox) close() {
	in.mu.Lock()
	for _, s := range in.streams {
		s.cancel()
	}
	in.mu.Unlock()
	in.wg.Wait()
}

// stream sends the lines of a pod until its reader, the pod or the session ends. A
// slow reader or connection slows this goroutine only; lines that leave the ring
// meanwhile become a drop marker.
func (in *inbox) stream(ctx context.Context, s *logStream, o wire.LogsOpen) {
	end := wire.LogsEnd{StreamID: o.StreamID}
	if r, part, ok := in.agent.logs.choose(o); !ok {
		end.Code, end.Message = string(fault.NotFound), "the node keeps no output of this pod"
	} else if err := in.copyLines(ctx, s, r, part, o); err != nil {
		return // the reader or the session has gone: nobody to tell
	}
	// Fails only with the session, which ends everything anyway.
	_ = in.whole(ctx, wire.TypeLogsEnd, end)
}

// whole sends a frame to its end, also where its reader closes meanwhile: a write that is
// given up closes the connection of the whole node.
func (in *inbox) whole(ctx context.Context, typ string, payload any) error {
	if ctx.Err() != nil { // who has closed gets nothing more
		return context.Cause(ctx)
	}
	return in.session.send(context.WithoutCancel(ctx), typ, payload)
}

// choose finds the ring and the part of it that a reader asks for. The attempt before the
// newest may lie in the ring of the incarnation before it.
func (b *logbook) choose(o wire.LogsOpen) (*ring, selection, bool) {
	r, older := b.find(o.PodID, o.Incarnation)
	if !o.Previous {
		if r == nil {
			return nil, selection{}, false
		}
		part, ok := r.seek(o, 0)
		return r, part, ok
	}
	if r != nil && r.latest() > 0 {
		if part, ok := r.seek(o, r.latest()-1); ok && r.latest() > 1 {
			return r, part, true
		}
	}
	if older == nil || older.latest() == 0 {
		return nil, selection{}, false
	}
	part, ok := older.seek(o, older.latest())
	return older, part, ok
}

// copyLines sends what its reader has room for, turn by turn with the other streams.
func (in *inbox) copyLines(ctx context.Context, s *logStream, r *ring, part selection, o wire.LogsOpen) error {
	room := o.Window
	for {
		for o.Window > 0 && room <= 0 {
			select {
			case n := <-s.more:
				room += n
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		most := maxChunkBytes
		if o.Window > 0 {
			most = min(most, room)
		}
		got := r.read(part, maxChunkLines, most)
		part.from = got.next
		c := wire.LogsChunk{StreamID: o.StreamID, Lines: got.lines, Ring: r.id, Next: got.next}
		if got.dropped > 0 {
			c.Lines = append([]api.LogLine{{Time: got.at, Stream: "log", Dropped: got.dropped}}, c.Lines...)
		}
		if len(c.Lines) > 0 {
			room -= c.Cost()
			if err := in.sendInTurn(ctx, c); err != nil {
				return err
			}
		}
		switch {
		case got.more:
		case !o.Follow || o.Previous || got.closed:
			return nil
		default:
			if err := in.await(ctx, got.changed, len(c.Lines) > 0); err != nil {
				return err
			}
		}
	}
}

// sendInTurn lets one chunk at a time stand before the connection: heartbeats and
// reports wait for one at most.
func (in *inbox) sendInTurn(ctx context.Context, c wire.LogsChunk) error {
	select {
	case in.turn <- struct{}{}:
		defer func() { <-in.turn }()
		return in.whole(ctx, wire.TypeLogsChunk, c)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// await waits for more lines, after a pause where some have just been sent.
func (in *inbox) await(ctx context.Context, changed <-chan struct{}, pause bool) error {
	if pause {
		timer := time.NewTimer(in.pace())
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	select {
	case <-changed:
	case <-ctx.Done():
	}
	if ctx.Err() != nil { // both may have come: who has closed gets nothing more
		return context.Cause(ctx)
	}
	return nil
}
