package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

type stopping struct {
	wait    bool
	purge   bool
	timeout time.Duration
}

func (a *app) podStopCommand() *cobra.Command {
	var s stopping
	cmd := &cobra.Command{
		Use: "stop <id>...", Aliases: []string{"delete", "rm"}, Short: "Stop pods",
		Long:    "Stop pods, each with its grace period. One that has ended already stays to be looked at, unless --purge removes it.",
		Example: "  stark pod stop <id>\n  stark pod stop --wait <id> <id>\n  stark pod stop --purge <id>",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			var first error
			for _, id := range args {
				if err := a.stop(ctx, c, id, s); err != nil && first == nil {
					first = fmt.Errorf("pod %s: %w", id, err)
				}
			}
			return first
		},
	}
	f := cmd.Flags()
	f.BoolVar(&s.wait, "wait", false, "wait until they have ended")
	f.BoolVar(&s.purge, "purge", false, "remove those that have ended already")
	f.DurationVar(&s.timeout, "timeout", 2*time.Minute, "how long to wait")
	return cmd
}

func (a *app) stop(ctx context.Context, c *client.Client, id string, s stopping) error {
	p, err := c.GetPod(ctx, id)
	if err != nil {
		return err
	}
	if p.Status.Terminal() && !s.purge {
		return a.stopped(p, "has ended already")
	}
	p, purged, err := c.StopPod(ctx, id)
	if err != nil {
		return err
	}
	if purged {
		return a.stopped(p, "is removed")
	}
	if s.wait && !p.Status.Terminal() {
		if p, err = waitPod(ctx, c, id, s.timeout, func(p api.Pod) bool { return p.Status.Terminal() }); err != nil {
			return err
		}
	}
	if p.Status.Terminal() {
		return a.stopped(p, "has ended")
	}
	return a.stopped(p, "stops")
}

func (a *app) stopped(p api.Pod, what string) error {
	switch a.format() {
	case formatName:
		return printNames(a, podView(), []api.Pod{p})
	default:
		return a.done(map[string]any{"id": p.ID, "status": p.Status, "reason": p.Reason, "message": what},
			"pod %s %s: %s", p.ID, what, podStatus(p))
	}
}

// podPoll is how often a waiting command looks.
const podPoll = 200 * time.Millisecond

// waitPod looks at a pod until done says so, or the time is up.
func waitPod(ctx context.Context, c *client.Client, id string, timeout time.Duration, done func(api.Pod) bool) (api.Pod, error) {
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	tick := time.NewTicker(podPoll)
	defer tick.Stop()
	for {
		p, err := c.GetPod(ctx, id)
		if err != nil || done(p) {
			return p, err
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return p, exitCodeError{exitTimeout, fmt.Errorf("waited %s: the pod is %s", timeout.Round(time.Millisecond), podStatus(p))}
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}
