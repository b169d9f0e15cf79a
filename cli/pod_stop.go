package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

type stopping struct {
	wait    bool
	purge   bool
	force   bool
	timeout time.Duration
}

func (a *app) podStopCommand() *cobra.Command {
	var s stopping
	cmd := &cobra.Command{
		Use: "stop <id>...", Aliases: []string{"delete", "rm"}, SuggestFor: []string{"kill"}, Short: "Stop pods",
		Long: `Stop pods, each with its grace period. One that has ended already stays to be looked at, unless --purge removes it.

A pod has stopped when its node says so. Where a node does not, the pod says StopOverdue and goes on being asked.
--force does not wait for the node: the pod has stopped at once, its room is free, and it runs nowhere else. What runs on
the node may go on until the node ends it.`,
		Example: "  stark pod stop <id>\n  stark pod stop --wait <id> <id>\n  stark pod stop --purge <id>\n  stark pod stop --force <id>",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.stopPods(cmd.Context(), c, args, s)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&s.wait, "wait", false, "wait until they have ended")
	f.BoolVar(&s.purge, "purge", false, "remove those that have ended already")
	f.BoolVar(&s.force, "force", false, "do not wait for the node to end them")
	f.DurationVar(&s.timeout, "timeout", 2*time.Minute, "how long to wait")
	return cmd
}

// stopped is what has become of one pod.
type stopped struct {
	ID      string        `json:"id"`
	Status  api.PodStatus `json:"status"`
	Reason  string        `json:"reason"`
	Message string        `json:"message"`
}

// stopPods asks all to stop before it waits for any: grace periods pass together.
func (a *app) stopPods(ctx context.Context, c *client.Client, args []string, s stopping) error {
	if s.force {
		fmt.Fprintln(a.stderr, "warning: with --force nobody waits for the node: what runs there may go on for a while")
	}
	limit := time.Now().Add(s.timeout)
	var pods []api.Pod
	var results []stopped
	var failed []error
	tell := func(p api.Pod, what string) {
		results = append(results, stopped{p.ID, p.Status, p.Reason, what})
		if a.format() == formatTable {
			fmt.Fprintf(a.stdout, "pod %s %s: %s\n", p.ID, what, podStatus(p))
		}
	}
	for _, arg := range args {
		p, what, err := stop(ctx, c, arg, s)
		switch {
		case err != nil:
			failed = append(failed, err)
		case s.wait && !p.Status.Terminal():
			pods = append(pods, p)
		default:
			tell(p, what)
		}
	}
	for _, p := range pods {
		ended, err := waitPod(ctx, c, p.ID, time.Until(limit), func(p api.Pod) bool { return p.Status.Terminal() })
		if err != nil {
			failed = append(failed, fmt.Errorf("pod %s: %w", p.ID, err))
			continue
		}
		tell(ended, "has ended")
	}
	return a.tellStopped(ctx, results, failed)
}

func stop(ctx context.Context, c *client.Client, arg string, s stopping) (p api.Pod, what string, err error) {
	if p, err = findPod(ctx, c, arg); err != nil {
		return p, "", err
	}
	if p.Status.Terminal() && !s.purge {
		return p, "has ended already", nil
	}
	ask := c.StopPod
	if s.force {
		ask = c.ForceStopPod
	}
	p, purged, err := ask(ctx, p.ID)
	switch {
	case err != nil:
		return p, "", fmt.Errorf("pod %s: %w", arg, err)
	case purged:
		return p, "is removed", nil
	case p.Status.Terminal():
		return p, "has ended", nil
	default:
		return p, "is asked to stop", nil
	}
}

// tellStopped writes results for machines, one as itself and several as a list,
// and all failures but the last, which it gives.
func (a *app) tellStopped(ctx context.Context, results []stopped, failed []error) error {
	view := view[stopped]{kind: "pod", id: func(s stopped) string { return s.ID }}
	var err error
	switch f := a.format(); {
	case f == formatName:
		err = printNames(a, view, results)
	case f == formatTable || len(results) == 0:
	case len(results) == 1 && len(failed) == 0:
		err = a.printData(results[0])
	default:
		err = a.printData(results)
	}
	if err != nil || len(failed) == 0 || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	last := len(failed) - 1
	for _, err := range failed[:last] {
		fmt.Fprintf(a.stderr, "error: %s\n", message(err))
	}
	return failed[last]
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
