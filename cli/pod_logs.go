package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// logsAsked are the flags of `pod logs`.
type logsAsked struct {
	client.LogQuery
	tail       int
	since      string
	timestamps bool
	prefix     bool
}

func (a *app) podLogsCommand() *cobra.Command {
	var o logsAsked
	cmd := &cobra.Command{
		Use: "logs <id>... | -l <selector>", Short: "Show the output of pods",
		Long: `Show the output of pods; with -o json one object per line.

A node keeps the newest 1 MiB of each pod, also for a while after it has ended. Where no
node can answer, the last 16 KiB stand in that are stored. Sentences in brackets, on
stderr, say where lines are missing, and which pods come and go.

Of several pods what is kept is shown in the order of time; with -f, lines as they come.
Pods that match the selector later join, and those that have ended leave. -f outlives a
server: it goes on at the next one behind the last line of each pod.`,
		Example: "  stark pod logs <id>\n  stark pod logs -f --tail 20 <id> <id>\n  stark pod logs -f -l app=web,tier!=test\n  stark pod logs --previous --since 10m <id>",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.read(cmd, args); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.logsOf(cmd.Context(), c, o, args)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on until the pods have ended; with -l until Ctrl-C")
	f.StringVarP(&o.LabelSelector, "label", "l", "", "the pods that match a label selector, such as app=web,tier!=test")
	f.StringVar(&o.Namespace, "namespace", "", "with -l, only pods of this namespace (default: all that you see)")
	f.IntVarP(&o.tail, "tail", "t", 0, "lines from the end; -1 for all that is kept (default 1000; of each of several pods 10)")
	f.StringVar(&o.since, "since", "", "only lines since then: 10m, or 2026-01-31T12:00:00Z")
	f.BoolVar(&o.Previous, "previous", false, "output of the attempt before this one")
	f.BoolVar(&o.timestamps, "timestamps", false, "show the time of each line")
	f.BoolVar(&o.prefix, "prefix", false, "begin each line with the name of its pod (default with several pods)")
	f.IntVar(&o.MaxPods, "max-log-requests", api.DefaultLogPods, fmt.Sprintf("refuse to read more pods than this at once; at most %d", api.MaxLogPods))
	return cmd
}

// read checks arguments and flags.
func (o *logsAsked) read(cmd *cobra.Command, args []string) error {
	given := cmd.Flags().Changed
	switch o.Matching = given("label"); {
	case o.Matching && len(args) > 0:
		return usagef("give the ids of pods or a selector, not both")
	case !o.Matching && len(args) == 0:
		return usagef("want the ids of pods, or -l and a label selector")
	case !o.Matching && o.Namespace != "":
		return usagef("--namespace narrows -l: a pod that is named needs none")
	case o.tail < -1:
		return usagef("--tail %d: want a number of lines, or -1 for everything", o.tail)
	case o.MaxPods < 1 || o.MaxPods > api.MaxLogPods:
		return usagef("--max-log-requests %d: want a number from 1 to %d", o.MaxPods, api.MaxLogPods)
	case o.Follow && o.Previous:
		return usagef("--previous is of an attempt that has ended: it cannot be followed")
	}
	if given("tail") {
		o.Tail = &o.tail
	}
	if !given("prefix") {
		o.prefix = o.Matching || len(args) > 1
	}
	var err error
	o.Since, err = parseSince(o.since)
	return err
}

func (a *app) logsOf(ctx context.Context, c *client.Client, o logsAsked, args []string) error {
	p := &logPrinter{a: a, c: c, timestamps: o.timestamps, prefix: o.prefix, names: map[string]string{}, color: a.color(a.stdout)}
	if o.Matching {
		return a.logsMatching(ctx, c, o, p)
	}
	for _, arg := range args {
		pod, err := findPod(ctx, c, arg)
		if err != nil {
			return err
		}
		waits := pod.Status == api.PodPending || pod.Status == api.PodScheduled || pod.Status == api.PodStarting
		if waits && !o.Previous { // on stderr: what reads the output gets output alone
			fmt.Fprintf(a.stderr, "pod %s is %s%s\n", pod.ID, podStatus(pod), because(pod))
		}
		p.knows(pod)
		o.PodIDs = append(o.PodIDs, pod.ID)
	}
	if len(args) > 1 {
		return p.print(ctx, o.Follow, c.Logs(ctx, o.LogQuery))
	}
	if !o.Follow {
		return p.print(ctx, false, c.PodLogs(ctx, o.PodIDs[0], o.LogOptions))
	}
	p.alone = true
	if o.Tail == nil {
		o.Tail = new(linesOfOne)
	}
	return p.print(ctx, true, c.Logs(ctx, o.LogQuery))
}

// linesOfOne is how much of a pod begins what follows of it, unless told otherwise.
const linesOfOne = 1000

func (a *app) logsMatching(ctx context.Context, c *client.Client, o logsAsked, p *logPrinter) error {
	q := api.PodQuery{Namespace: o.Namespace, LabelSelector: o.LabelSelector, PageQuery: api.PageQuery{Page: 1, PageSize: api.MaxPageSize}}
	page, err := c.ListPods(ctx, q)
	if err != nil {
		return err
	}
	for _, pod := range page.Items {
		p.knows(pod)
	}
	switch {
	case page.Total > 0:
	case !o.Follow:
		_, err := fmt.Fprintln(a.stderr, "no pods match")
		return err
	default:
		fmt.Fprintln(a.stderr, "no pods match yet: waiting for some")
	}
	return p.print(ctx, o.Follow, c.Logs(ctx, o.LogQuery))
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
