package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// churnPace is the time between two pods.
const churnPace = 50 * time.Millisecond

// A busy machine may make the server say that it is not available for a while. Whatever
// was asked for is asked for again, and only a longer time without an answer ends the soak.
const (
	refusedPause = time.Second
	refusedLimit = 2 * time.Minute
)

// churn makes pods and stops the oldest ones.
type churn struct {
	made, stopped, refused atomic.Int64 // read while it goes on
	live                   []string
}

// run goes on until ctx ends, which is its only error while the server answers.
func (c *churn) run(ctx context.Context, cl *client.Client, pods int) error {
	tick := time.NewTicker(churnPace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := c.patiently(ctx, func() error { return c.step(ctx, cl, pods) }); err != nil {
			return err
		}
	}
}

// patiently does a thing again while the server is not available.
func (c *churn) patiently(ctx context.Context, do func() error) error {
	var since time.Time
	for {
		err := do()
		if fault.CodeOf(err) != fault.Unavailable {
			return err
		}
		c.refused.Add(1)
		switch {
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > refusedLimit:
			return fmt.Errorf("for %s: %w", refusedLimit, err)
		}
		select {
		case <-time.After(refusedPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// step makes one pod, but where the last step could not stop one, and stops those that
// are too many.
func (c *churn) step(ctx context.Context, cl *client.Client, pods int) error {
	if len(c.live) <= pods {
		p, err := cl.CreatePod(ctx, api.CreatePodRequest{PackName: "soak", Labels: map[string]string{"app": "soak"}})
		if err != nil {
			return fmt.Errorf("create: %w", err)
		}
		c.made.Add(1)
		c.live = append(c.live, p.ID)
	}
	for len(c.live) > pods {
		if _, _, err := cl.StopPod(ctx, c.live[0]); err != nil {
			return fmt.Errorf("stop: %w", err)
		}
		c.stopped.Add(1)
		c.live = c.live[1:]
	}
	return nil
}
