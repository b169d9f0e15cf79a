package agent

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	maxStreams    = 64       // per connection
	maxChunkBytes = 64 << 10 // of text; stays below a frame however much JSON escapes
	maxChunkLines = 512
)

func (in *inbox) openLogs(ctx context.Context, e wire.Envelope) error {
	var o wire.LogsOpen
	if err := json.Unmarshal(e.Payload, &o); err != nil {
		return fmt.Errorf("read %s: %w", e.Type, err)
	}
	streamCtx, cancel := context.WithCancel(ctx)
	if !in.admit(o.StreamID, cancel) {
		cancel()
		return in.session.send(ctx, wire.TypeLogsEnd, wire.LogsEnd{
			StreamID: o.StreamID, Code: string(fault.RateLimited), Message: "the node serves too many log readers",
		})
	}
	in.wg.Go(func() {
		defer in.forgetStream(o.StreamID)
		in.stream(streamCtx, o)
	})
	return nil
}

func (in *inbox) admit(id string, cancel context.CancelFunc) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, taken := in.streams[id]; taken || len(in.streams) >= maxStreams {
		return false
	}
	if in.streams == nil {
		in.streams = map[string]context.CancelFunc{}
	}
	in.streams[id] = cancel
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

func (in *inbox) forgetStream(id string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if cancel := in.streams[id]; cancel != nil {
		cancel()
		delete(in.streams, id)
	}
}

// close ends all streams and waits for them.
func (in *inbox) close() {
	in.mu.Lock()
	for _, cancel := range in.streams {
		cancel()
	}
	in.mu.Unlock()
	in.wg.Wait()
}

// stream sends the lines of a pod until its reader, the pod or the session ends. A
// slow connection slows this goroutine only; lines that leave the ring meanwhile
// become a drop marker.
func (in *inbox) stream(ctx context.Context, o wire.LogsOpen) {
	end := wire.LogsEnd{StreamID: o.StreamID}
	if r := in.agent.logs.find(o.PodID); r == nil {
		end.Code, end.Message = string(fault.NotFound), "the node keeps no output of this pod"
	} else if err := in.copyLines(ctx, r, o); err != nil {
		return // the reader or the session has gone: nobody to tell
	}
	// Fails only with the session, which ends everything anyway.
	_ = in.session.send(ctx, wire.TypeLogsEnd, end)
}

func (in *inbox) copyLines(ctx context.Context, r *ring, o wire.LogsOpen) error {
	at, attempt := r.seek(o)
	for {
		got := r.read(at, maxChunkLines, maxChunkBytes)
		at = got.next
		lines := got.lines
		if o.Previous {
			lines = onlyAttempt(lines, attempt)
		}
		if got.dropped > 0 {
			lines = append([]api.LogLine{{Time: got.at, Stream: "log", Dropped: got.dropped}}, lines...)
		}
		if len(lines) > 0 {
			if err := in.session.send(ctx, wire.TypeLogsChunk, wire.LogsChunk{StreamID: o.StreamID, Lines: lines}); err != nil {
				return err
			}
		}
		switch {
		case got.more:
		case !o.Follow || o.Previous || got.closed:
			return nil
		default:
			select {
			case <-got.changed:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if ctx.Err() != nil { // both may have come: who has closed gets nothing more
				return context.Cause(ctx)
			}
		}
	}
}

func onlyAttempt(lines []api.LogLine, attempt int) []api.LogLine {
	out := make([]api.LogLine, 0, len(lines))
	for _, l := range lines {
		if l.Attempt == attempt {
			out = append(out, l)
		}
	}
	return out
}
