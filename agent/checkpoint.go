package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// checkpointBytes bounds the text of one message, so that it stays below a frame.
const checkpointBytes = 128 << 10

// kept is a checkpoint under way, with the place that it reaches up to.
type kept struct {
	wire.LogCheckpoint
	ring *ring
	next uint64
	size int
}

// checkpoint sends the end of the output of pods that have written since the last time,
// until ctx ends. One message is under way at a time, so that a server that is busy gets
// them less often.
func (a *Agent) checkpoint(ctx context.Context) {
	if a.cfg.LogCheckpoints < 0 {
		return
	}
	ticker := time.NewTicker(a.cfg.LogCheckpoints)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		s, _ := a.link.peek()
		if s == nil {
			continue
		}
		if err := a.sendCheckpoints(ctx, s); err != nil && ctx.Err() == nil {
			a.log.DebugContext(ctx, "the end of the pods' output could not be stored, it is sent again", slog.Any("error", err))
		}
	}
}

func (a *Agent) sendCheckpoints(ctx context.Context, s *session) error {
	var batch []kept
	size := 0
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		m := wire.LogCheckpoints{}
		for _, k := range batch {
			m.Checkpoints = append(m.Checkpoints, k.LogCheckpoint)
		}
		call, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		if err := s.request(call, wire.TypeLogsCheckpoint, m, nil); err != nil {
			return err
		}
		for _, k := range batch {
			k.ring.keep(k.next)
		}
		batch, size = nil, 0
		return nil
	}
	for _, r := range a.logs.all() {
		k, ok := r.checkpoint(api.MaxLastOutput)
		if !ok {
			continue
		}
		if len(batch) == wire.MaxCheckpoints || size+k.size > checkpointBytes {
			if err := send(); err != nil {
				return err
			}
		}
		batch, size = append(batch, k), size+k.size
	}
	return send()
}
