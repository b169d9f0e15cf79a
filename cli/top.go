package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// topEvery is how often `top --watch` asks: nodes tell their figures every ten seconds
// unless the cluster says otherwise.
const topEvery = 5 * time.Second

// What figures can be sorted by; the largest comes first, names in their order.
const (
	byCPU    = "cpu"
	byMemory = "memory"
	byDelay  = "delay"
	byName   = "name"
)

var topOrders = []string{byCPU, byMemory, byDelay, byName}

// topFlags are those of both kinds of top.
type topFlags struct {
	query  api.UsageQuery
	sortBy string
	watch  bool
	every  time.Duration
}

func (f *topFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.query.LabelSelector, "label", "l", "", "label selector, such as app=web,tier!=test")
	flags.StringVar(&f.sortBy, "sort-by", byCPU, "cpu, memory, delay or name")
	flags.BoolVarP(&f.watch, "watch", "w", false, "show them again and again, until Ctrl-C")
	flags.DurationVar(&f.every, "interval", topEvery, "with --watch: how often")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("sort-by", cobra.FixedCompletions(topOrders, cobra.ShellCompDirectiveNoFileComp)))
}

func (f *topFlags) check() error {
	if !slices.Contains(topOrders, f.sortBy) {
		return usagef("--sort-by %q: want cpu, memory, delay or name", f.sortBy)
	}
	if f.every < time.Second {
		return usagef("--interval %s: want 1s or more", f.every)
	}
	return f.query.Validate()
}

// compare orders two rows: those without figures come last.
func (f *topFlags) compare(a, b *api.Figures, nameA, nameB string) int {
	if f.sortBy == byName {
		return cmp.Compare(nameA, nameB)
	}
	figure := func(u *api.Figures) int64 {
		switch {
		case u == nil:
			return -1
		case f.sortBy == byDelay:
			return u.LoopDelayMS
		case f.sortBy == byMemory && u.Memory != nil:
			return int64(*u.Memory)
		case f.sortBy == byCPU && u.CPU != nil:
			return int64(*u.CPU)
		default:
			return -1
		}
	}
	return cmp.Or(cmp.Compare(figure(b), figure(a)), cmp.Compare(nameA, nameB))
}

// show runs read and print once, or again and again. What passes, such as a server
// that restarts, is told and does not end a watch.
func (f *topFlags) show(ctx context.Context, a *app, once func(ctx context.Context) error) error {
	for first := true; ; first = false {
		if !first && atTerminal(a.stdout) {
			fmt.Fprint(a.stdout, "\x1b[H\x1b[2J")
		}
		err := once(ctx)
		if !f.watch {
			return err
		}
		if err != nil && ctx.Err() == nil { // Ctrl-C is how a watch ends
			if first || !passing(err) {
				return err
			}
			fmt.Fprintf(a.stderr, "%v; asked again in %s\n", err, f.every)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.every):
		}
	}
}

func passing(err error) bool {
	code := fault.CodeOf(err)
	return code == fault.Unavailable || code == fault.Timeout || code == fault.RateLimited
}

func cpuFigure(u *api.Figures) string {
	if u == nil || u.CPU == nil {
		return ""
	}
	return fmt.Sprintf("%dm", int64(*u.CPU))
}

func memoryFigure(u *api.Figures) string {
	if u == nil || u.Memory == nil {
		return ""
	}
	return fmt.Sprintf("%dMi", int64(*u.Memory))
}

func delayFigure(u *api.Figures) string {
	if u == nil {
		return ""
	}
	return fmt.Sprintf("%dms", u.LoopDelayMS)
}

func percent(used, all int64) string {
	if all <= 0 {
		return ""
	}
	return fmt.Sprintf("%d%%", 100*used/all)
}

// usageText tells figures within a description.
func usageText(u *api.Figures) string {
	if u == nil {
		return ""
	}
	known := func(figure string) string { return cmp.Or(figure, "not told") } // by a tab
	return fmt.Sprintf("cpu %s, memory %s, event-loop delay %s, %s ago", known(cpuFigure(u)), known(memoryFigure(u)), delayFigure(u), age(u.At))
}

func podFiguresView() view[api.PodFigures] {
	return view[api.PodFigures]{
		kind: podView().kind, id: func(f api.PodFigures) string { return f.PodID }, prefixes: true, empty: "no pods that run",
		columns: []column[api.PodFigures]{
			{"ID", func(f api.PodFigures) string { return f.PodID }},
			{"PACK", func(f api.PodFigures) string { return f.PackName }},
			{"NAMESPACE", func(f api.PodFigures) string { return f.Namespace }},
			{"NODE", func(f api.PodFigures) string { return f.NodeName }},
			{"CPU(cores)", func(f api.PodFigures) string { return cpuFigure(f.Usage) }},
			{"MEMORY(bytes)", func(f api.PodFigures) string { return memoryFigure(f.Usage) }},
			{"DELAY", func(f api.PodFigures) string { return delayFigure(f.Usage) }},
		},
	}
}

func (a *app) podTopCommand() *cobra.Command {
	var f topFlags
	var node string
	cmd := &cobra.Command{
		Use: "top [id]", Short: "Show what running pods use now: CPU, memory and event-loop delay",
		Long: `Show what the running pods that you see use now, as their nodes told it last: CPU in
thousandths of a core since the sample before, resident memory, and the longest delay of
the event loop. Pods of tabs have no figures. At most ` + fmt.Sprint(api.MaxFigures) + ` pods, the newest, are shown.`,
		Example: "  stark pod top\n  stark pod top --namespace shop -l app=web --sort-by memory\n  stark pod top -w -n worker-1",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.podTop(cmd.Context(), f, node, args)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.query.Namespace, "namespace", "", "only pods of this namespace (default: all that you see)")
	cmd.Flags().StringVarP(&node, "node", "n", "", "only pods on this node")
	return cmd
}

func (a *app) podTop(ctx context.Context, f topFlags, node string, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if node != "" {
		n, err := findNode(ctx, c, node)
		if err != nil {
			return err
		}
		f.query.NodeID = n.ID
	}
	if len(args) > 0 {
		p, err := findPod(ctx, c, args[0])
		if err != nil {
			return err
		}
		if f.query.PodID = p.ID; p.Status.Terminal() {
			return fault.New(fault.Validation, "pod %s is %s and uses nothing any more: `stark pod status` shows what it has used", p.ID, p.Status)
		}
	}
	return f.show(ctx, a, func(ctx context.Context) error {
		pods, err := c.PodUsage(ctx, f.query)
		if err != nil {
			return err
		}
		slices.SortStableFunc(pods, func(a, b api.PodFigures) int {
			return f.compare(a.Usage, b.Usage, a.PackName+"/"+a.PodID, b.PackName+"/"+b.PodID)
		})
		return printList(a, podFiguresView(), pods)
	})
}

func nodeFiguresView() view[api.NodeFigures] {
	return view[api.NodeFigures]{
		kind: nodeView().kind, id: func(f api.NodeFigures) string { return f.NodeID }, empty: "no nodes that are there",
		columns: []column[api.NodeFigures]{
			{"NAME", func(f api.NodeFigures) string { return f.NodeName }},
			{"CPU(cores)", func(f api.NodeFigures) string { return cpuFigure(f.Usage) }},
			{"CPU%", func(f api.NodeFigures) string {
				return share(f, func(u *api.Figures) *api.Millicores { return u.CPU }, f.Allocatable.CPU)
			}},
			{"MEMORY(bytes)", func(f api.NodeFigures) string { return memoryFigure(f.Usage) }},
			{"MEMORY%", func(f api.NodeFigures) string {
				return share(f, func(u *api.Figures) *api.Mebibytes { return u.Memory }, f.Allocatable.Memory)
			}},
			{"DELAY", func(f api.NodeFigures) string { return delayFigure(f.Usage) }},
		},
	}
}

func share[T ~int64](f api.NodeFigures, figure func(*api.Figures) *T, all T) string {
	if f.Usage == nil || figure(f.Usage) == nil {
		return ""
	}
	return percent(int64(*figure(f.Usage)), int64(all))
}

func (a *app) nodeTopCommand() *cobra.Command {
	var f topFlags
	cmd := &cobra.Command{
		Use: "top [name|id]", Short: "Show what the machines of nodes use now",
		Long: `Show what the machines of nodes use now, all programs together, and how much that is of
what the node gives to pods; DELAY is the longest event-loop delay among its pods. A
tab tells DELAY alone, as no browser tells the rest.`,
		Example: "  stark node top\n  stark node top -l zone=a --sort-by memory\n  stark node top -w worker-1",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.nodeTop(cmd.Context(), f, args)
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) nodeTop(ctx context.Context, f topFlags, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if len(args) > 0 {
		n, err := findNode(ctx, c, args[0])
		if err != nil {
			return err
		}
		f.query.NodeID = n.ID
	}
	return f.show(ctx, a, func(ctx context.Context) error {
		nodes, err := c.NodeUsage(ctx, f.query)
		if err != nil {
			return err
		}
		slices.SortStableFunc(nodes, func(a, b api.NodeFigures) int { return f.compare(a.Usage, b.Usage, a.NodeName, b.NodeName) })
		return printList(a, nodeFiguresView(), nodes)
	})
}

// describeUsage writes what something uses now, where that is known.
func describeUsage(w io.Writer, title string, u *api.Figures) { line(w, title, usageText(u)) }
