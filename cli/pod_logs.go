package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

func (a *app) podLogsCommand() *cobra.Command {
	var o client.LogOptions
	var since string
	var timestamps bool
	var tail int
	cmd := &cobra.Command{
		Use: "logs <id>", Short: "Show the output of a pod",
		Long: `Show the output of a pod; with -o json one object per line.

Its node keeps the newest 1 MiB, also for a while after the pod has ended. Where no
node can answer, the last 16 KiB stand in that are stored. A line in brackets says
where lines are missing.`,
		Example: "  stark pod logs <id>\n  stark pod logs -f --tail 20 <id>\n  stark pod logs --previous --since 10m <id>",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if tail < -1 {
				return usagef("--tail %d: want a number of lines, or -1 for everything", tail)
			}
			if cmd.Flags().Changed("tail") {
				o.Tail = &tail
			}
			var err error
			if o.Since, err = parseSince(since); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := findPod(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return a.logs(cmd.Context(), c, p, o, timestamps)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on until the pod has ended")
	f.IntVarP(&tail, "tail", "t", 0, "lines from the end; -1 for all that is kept (default 1000)")
	f.StringVar(&since, "since", "", "only lines since then: 10m, or 2026-01-31T12:00:00Z")
	f.BoolVar(&o.Previous, "previous", false, "output of the attempt before this one")
	f.BoolVar(&timestamps, "timestamps", false, "show the time of each line")
	return cmd
}

func (a *app) logs(ctx context.Context, c *client.Client, p api.Pod, o client.LogOptions, timestamps bool) error {
	waits := p.Status == api.PodPending || p.Status == api.PodScheduled || p.Status == api.PodStarting
	if waits && !o.Previous {
		// On stderr: what reads the output gets output alone.
		fmt.Fprintf(a.stderr, "pod %s is %s%s\n", p.ID, podStatus(p), because(p))
	}
	for l, err := range c.PodLogs(ctx, p.ID, o) {
		if o.Follow && ctx.Err() != nil {
			return nil // whoever follows ends it by Ctrl-C
		}
		if err != nil {
			return err
		}
		if err := a.logLine(l, timestamps); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) logLine(l api.LogLine, timestamps bool) error {
	if a.format() == formatJSON {
		data, err := json.Marshal(l)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", escapeJSON(data))
		return err
	}
	if l.Notice != "" { // on stderr: what reads the output gets output alone
		_, err := fmt.Fprintf(a.stderr, "[%s]\n", l.Notice)
		return err
	}
	prefix := ""
	if timestamps {
		prefix = l.Time.Local().Format(time.RFC3339Nano) + " "
	}
	_, err := io.WriteString(a.stdout, prefix+logText(l)+"\n")
	if err != nil {
		return errors.Join(errors.New("write the output"), err)
	}
	return nil
}

// logText is a line for people; it keeps colours of the pack but tells of gaps.
func logText(l api.LogLine) string {
	if l.Notice != "" {
		return "[" + l.Notice + "]"
	}
	if l.Dropped > 0 {
		return fmt.Sprintf("[%d lines lost]", l.Dropped)
	}
	return l.Line
}
