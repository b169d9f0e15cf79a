package dispatch

import (
	"context"
	"sync"

	"golang.org/x/time/rate"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	// checkpointRate bounds what one server writes of logs, in bytes a second: where
	// more is to be kept, agents wait for their answers and so send less often.
	checkpointRate  = 2 << 20
	checkpointBurst = 8 << 20
	checkpointBatch = 128 // checkpoints in one statement
)

// NodeCheckpoint is the end of a run's output, as the node says that sent it.
type NodeCheckpoint struct {
	NodeID string
	wire.LogCheckpoint
}

// checkpoints writes what many nodes send at the same time in one statement.
type checkpoints struct {
	store func(context.Context, []NodeCheckpoint) error
	limit *rate.Limiter
	turn  chan struct{} // holds the one who writes

	mu      sync.Mutex
	waiting *group
}

// group is what goes in one statement.
type group struct {
	all  []NodeCheckpoint
	done chan struct{}
	err  error // valid once done is closed
}

func newCheckpoints(store func(context.Context, []NodeCheckpoint) error) *checkpoints {
	return &checkpoints{store: store, limit: rate.NewLimiter(checkpointRate, checkpointBurst), turn: make(chan struct{}, 1)}
}

// add stores checkpoints, together with those of others that wait, and returns when
// they are stored.
func (c *checkpoints) add(ctx context.Context, list []NodeCheckpoint) error {
	size := 0
	for _, one := range list {
		for _, l := range one.Lines {
			size += len(l.Line) + wire.LogLineCost
		}
	}
	if err := c.limit.WaitN(ctx, min(size, checkpointBurst)); err != nil {
		return fault.Wrap(err, fault.RateLimited, "too many logs are to be kept at the same time")
	}
	c.mu.Lock()
	g := c.waiting
	if g == nil || len(g.all)+len(list) > checkpointBatch {
		g = &group{done: make(chan struct{})}
		c.waiting = g
		go c.write(context.WithoutCancel(ctx), g)
	}
	g.all = append(g.all, list...)
	c.mu.Unlock()
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write waits for its turn, in which others join the group.
func (c *checkpoints) write(ctx context.Context, g *group) {
	defer close(g.done)
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.mu.Lock()
	if c.waiting == g {
		c.waiting = nil
	}
	c.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	g.err = c.store(call, g.all)
}

func (s *session) onLogsCheckpoint(ctx context.Context, e wire.Envelope) error {
	m, err := decode[wire.LogCheckpoints](e)
	if err != nil {
		return err
	}
	nodeID, err := s.needNode("")
	if err != nil {
		return err
	}
	if len(m.Checkpoints) > wire.MaxCheckpoints {
		return fault.New(fault.Validation, "a message may have at most %d checkpoints", wire.MaxCheckpoints)
	}
	list := make([]NodeCheckpoint, 0, len(m.Checkpoints))
	for i, c := range m.Checkpoints {
		size := 0
		for _, l := range c.Lines {
			size += len(l.Line)
		}
		if !api.ValidID(c.PodID) || c.Incarnation < 1 || c.Attempt < 1 {
			return fault.New(fault.Validation, "checkpoint %d: podId, incarnation and attempt must name a run", i)
		}
		if size > api.MaxLastOutput || len(c.Lines) > wire.MaxCheckpointLines {
			return fault.New(fault.Validation, "checkpoint %d: more than %d bytes or %d lines", i, api.MaxLastOutput, wire.MaxCheckpointLines)
		}
		list = append(list, NodeCheckpoint{NodeID: nodeID, LogCheckpoint: c})
	}
	s.aside(ctx, e, func(ctx context.Context) error {
		if err := s.d.checkpoints.add(ctx, list); err != nil {
			return err
		}
		s.ack(e, struct{}{})
		return nil
	})
	return nil
}
