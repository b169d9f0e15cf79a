package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// drainFlags is what `node drain` takes.
type drainFlags struct {
	force, ignoreBudget, wait, cancel bool
	ignoreLabels                      string
	grace                             int
	deadline, timeout                 time.Duration
}

func (a *app) nodeDrainCommand() *cobra.Command {
	var d drainFlags
	cmd := &cobra.Command{
		Use: "drain <name|id>", Short: "Cordon a node and empty it",
		Long: `Cordon a node and move its pods to others. The cluster does it, also when this command
ends; "stark node uncordon" cancels it. Pods stop within their grace and run on elsewhere.
Not told to leave are pods while the disruption budget of their namespace is used up, and
pods with restartPolicy Never, which would not run again, unless --force is given.

Exit codes with --wait: 0 every pod has left, 1 the deadline has passed or somebody has
cancelled, 3 the time to wait is up; the drain goes on then.`,
		Example: "  stark node drain worker-1 --wait\n  stark node drain worker-1 --force --grace 5 --deadline 10m\n  stark node drain worker-1 --cancel",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.drain(cmd, args[0], d) },
	}
	f := cmd.Flags()
	f.BoolVar(&d.force, "force", false, "also pods that will not run again (restartPolicy Never)")
	f.BoolVar(&d.ignoreBudget, "ignore-budget", false, "past the disruption budgets of namespaces")
	f.StringVar(&d.ignoreLabels, "ignore-labels", "", "label selector of pods that may stay")
	f.IntVar(&d.grace, "grace", -1, "seconds to stop in, instead of each pod's own")
	f.DurationVar(&d.deadline, "deadline", 0, "give up after this time (default: never)")
	f.BoolVar(&d.wait, "wait", false, "wait until every pod has left, and show how far it is")
	f.DurationVar(&d.timeout, "timeout", 10*time.Minute, "how long to wait")
	f.BoolVar(&d.cancel, "cancel", false, "cancel a drain; the node stays cordoned")
	return cmd
}

func (a *app) drain(cmd *cobra.Command, name string, d drainFlags) error {
	r := api.DrainNodeRequest{TimeoutSeconds: int(d.deadline.Seconds()), Force: d.force, IgnoreBudget: d.ignoreBudget, IgnoreLabels: d.ignoreLabels}
	if cmd.Flags().Changed("grace") {
		r.GraceSeconds = &d.grace
	}
	if err := r.Validate(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	n, err := findNode(ctx, c, name)
	if err != nil {
		return err
	}
	if d.cancel {
		if n, err = c.CancelDrain(ctx, n.ID); err != nil {
			return err
		}
		return printOne(a, nodeView(), n, func(w io.Writer) { fmt.Fprintf(w, "node %s is drained no longer; it is cordoned still\n", n.Name) })
	}
	if n, err = c.DrainNode(ctx, n.ID, r); err != nil {
		return err
	}
	if !d.wait {
		return printOne(a, nodeView(), n, func(w io.Writer) {
			fmt.Fprintf(w, "node %s is draining: `stark node describe %s` shows how far it is\n", n.Name, n.Name)
		})
	}
	end, err := a.watchDrain(ctx, c, n, d.timeout)
	if err != nil {
		return err
	}
	if a.format() != formatTable {
		return a.printData(end)
	}
	fmt.Fprintf(a.stdout, "node %s is drained\n", n.Name)
	return nil
}

// drainEvery is how often the state of a drain is asked for.
const drainEvery = time.Second

// watchDrain waits for the end of a drain and says on stderr what changes.
func (a *app) watchDrain(ctx context.Context, c *client.Client, n api.Node, limit time.Duration) (client.Drain, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said := ""
	for {
		s, err := c.GetDrain(ctx, n.ID)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return s, exitCodeError{exitTimeout, fmt.Errorf("node %s is not empty after %s: the drain goes on", n.Name, limit)}
		}
		if err != nil {
			return s, err
		}
		if s.Drain == nil {
			return s, fmt.Errorf("the drain of node %s was cancelled", n.Name)
		}
		if text := drainText(s); text != said {
			said = text
			fmt.Fprintln(a.stderr, text)
		}
		switch s.Drain.Phase {
		case api.Drained:
			return s, nil
		case api.DrainTimedOut:
			return s, withHint(fmt.Errorf("the deadline has passed with %d pods on node %s", s.Drain.Remaining, n.Name), "the node stays cordoned; --force and --ignore-budget move what is blocked")
		case api.Draining:
		}
		select {
		case <-time.After(drainEvery):
		case <-ctx.Done():
			if cmdErr := context.Cause(ctx); errors.Is(cmdErr, context.Canceled) {
				return s, cmdErr
			}
		}
	}
}

// drainText says in one line how far a drain is, and in further ones what keeps it.
func drainText(s client.Drain) string {
	d := s.Drain
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d pods have left", d.Total-d.Remaining, d.Total)
	if d.Blocked > 0 {
		fmt.Fprintf(&text, ", %d may not yet", d.Blocked)
	}
	for _, b := range s.Blocked {
		fmt.Fprintf(&text, "\n  pod %s (%s): %s", b.PodID, b.PackName, clean(b.Message))
	}
	return text.String()
}
