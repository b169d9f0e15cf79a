package cli

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// What can be waited for beside the statuses.
const (
	forEnded   = "ended"
	forDeleted = "deleted"
)

var (
	podGoals = []string{
		string(api.PodScheduled), string(api.PodRunning), string(api.PodSucceeded), string(api.PodFailed), string(api.PodStopped), string(api.PodEvicted),
		forEnded, forDeleted,
	}
	nodeGoals = []string{string(api.NodeOnline), string(api.NodeOffline), string(api.NodeUnhealthy), forDeleted}
)

func (a *app) waitCommand() *cobra.Command {
	var goal string
	timeout := time.Minute
	cmd := &cobra.Command{
		Use: "wait <pod/id | node/name>...", Short: "Wait until pods or nodes are in a state",
		Long: `Wait until every named pod or node is in a state. A pod is named pod/<id>, as
` + "`-o name`" + ` prints it, or by the id alone; a node is named node/<name>.

--for takes, of pods: ` + strings.Join(podGoals, ", ") + `
(ended is any of succeeded, failed, stopped and evicted);
of nodes: ` + strings.Join(nodeGoals, ", ") + `.

Exit codes: 0 all are, 1 one of them cannot be any more, 3 the time is up.`,
		Example: "  stark wait --for running pod/0199f3a2-7c1e-7d3a-9a52-3f1d2f7f0a11\n  stark pod list -l app=web -o name | xargs stark wait --for ended --timeout 5m\n  stark wait --for online node/worker-1",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, errWaited)
			defer cancel()
			for _, arg := range args {
				if err := a.waitFor(ctx, c, arg, goal); err != nil {
					if context.Cause(ctx) == errWaited { //nolint:errorlint // the cause is this very value
						return exitCodeError{exitTimeout, fmt.Errorf("waited %s: %s is not %s", timeout, arg, goal)}
					}
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&goal, "for", string(api.PodRunning), "the state to wait for")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait, for all of them together")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(slices.Concat(podGoals, nodeGoals), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// errWaited ends a wait whose time is up.
var errWaited = fmt.Errorf("the time is up")

func (a *app) waitFor(ctx context.Context, c *client.Client, arg, goal string) error {
	if name, ok := strings.CutPrefix(arg, nodeView().kind+"/"); ok {
		if !slices.Contains(nodeGoals, goal) {
			return usagef("--for %q: of a node want %s", goal, strings.Join(nodeGoals, ", "))
		}
		n, err := findNode(ctx, c, name)
		if err != nil {
			return gone(err, goal)
		}
		return reach(ctx, a, arg, goal, c.WatchNode(ctx, n.ID), func(n api.Node) (string, bool) { return string(n.Status), false })
	}
	if !slices.Contains(podGoals, goal) {
		return usagef("--for %q: of a pod want %s", goal, strings.Join(podGoals, ", "))
	}
	id, err := podID(ctx, c, arg)
	if err != nil {
		return gone(err, goal)
	}
	return reach(ctx, a, arg, goal, c.WatchPod(ctx, id), func(p api.Pod) (string, bool) { return string(p.Status), p.Status.Terminal() })
}

// gone makes a success of what is not there where this was waited for.
func gone(err error, goal string) error {
	if goal == forDeleted && fault.CodeOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// reach follows one object until it is as wanted, or cannot become so.
func reach[T any](ctx context.Context, a *app, name, goal string, changes iter.Seq2[client.Change[T], error], status func(T) (string, bool)) error {
	for change, err := range changes {
		switch {
		case err != nil:
			return gone(err, goal)
		case change.Synced:
			continue
		case change.Deleted && goal == forDeleted:
			return a.reached(name, goal)
		case change.Deleted:
			return fmt.Errorf("%s was deleted before it was %s", name, goal)
		}
		now, ended := status(change.Object)
		switch {
		case now == goal, ended && goal == forEnded:
			return a.reached(name, now)
		case ended && goal != forDeleted:
			return fmt.Errorf("%s is %s and will not be %s any more", name, now, goal)
		}
	}
	if goal == forDeleted && ctx.Err() == nil {
		return a.reached(name, goal)
	}
	return context.Cause(ctx)
}

func (a *app) reached(name, state string) error {
	_, err := fmt.Fprintf(a.stdout, "%s is %s\n", name, state)
	return err
}
