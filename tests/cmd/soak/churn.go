package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// churnPace is the time between two pods.
const churnPace = 50 * time.Millisecond

// churn makes pods and stops the oldest ones.
type churn struct {
	made, stopped atomic.Int64 // read while it goes on
	live          []string
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
		if err := c.step(ctx, cl, pods); err != nil {
			return err
		}
	}
}

func (c *churn) step(ctx context.Context, cl *client.Client, pods int) error {
	p, err := cl.CreatePod(ctx, api.CreatePodRequest{PackName: "soak", Labels: map[string]string{"app": "soak"}})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	c.made.Add(1)
	c.live = append(c.live, p.ID)
	if len(c.live) <= pods {
		return nil
	}
	if _, _, err := cl.StopPod(ctx, c.live[0]); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	c.stopped.Add(1)
	c.live = c.live[1:]
	return nil
}
