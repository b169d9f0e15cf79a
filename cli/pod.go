package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
)

func (a *app) podCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pod", Aliases: []string{"pods"}, Short: "Run packs, and look at what runs",
		Example: "  stark pod create hello --wait\n  stark pod list\n  stark pod logs -f <id>",
	}
	cmd.AddCommand(
		a.completes(a.podCreateCommand(), false, packNames), a.podListCommand(),
		a.completes(a.podStatusCommand(), false, podNames), a.completes(a.podLogsCommand(), true, podNames),
		a.completes(a.podStopCommand(), true, podNames), a.completes(a.podHistoryCommand(), false, podNames),
		a.completes(a.podExplainCommand(), false, podNames), a.completes(a.podRollbackCommand(), false, podNames),
		a.completes(a.podVersionsCommand(), false, podNames), a.completes(a.podTopCommand(), false, podNames),
	)
	return cmd
}

func podView() view[api.Pod] {
	return view[api.Pod]{
		kind: "pod", id: func(p api.Pod) string { return p.ID }, prefixes: true, empty: "no pods: run a pack with `stark pod create <pack>`",
		columns: []column[api.Pod]{
			{"ID", func(p api.Pod) string { return p.ID }},
			{"PACK", func(p api.Pod) string { return p.PackName }},
			{"VERSION", func(p api.Pod) string { return p.PackVersion }},
			{statusColumn, podStatus},
			{"RESTARTS", func(p api.Pod) string { return fmt.Sprint(p.Restarts) }},
			{"NODE", nodeOf},
			{"AGE", func(p api.Pod) string { return age(p.CreatedAt) }},
		},
	}
}

func podStatus(p api.Pod) string {
	switch {
	case p.Reason == "":
		return string(p.Status)
	case p.Reason == api.ReasonCrashLoopBackOff && p.LastTermination != nil && p.LastTermination.RestartsAt != nil:
		if left := time.Until(*p.LastTermination.RestartsAt).Round(time.Second); left > 0 {
			return fmt.Sprintf("%s (%s, again in %s)", p.Status, p.Reason, left)
		}
	}
	return fmt.Sprintf("%s (%s)", p.Status, p.Reason)
}

func nodeOf(p api.Pod) string {
	if p.NodeName == "" && p.NodeID != nil {
		return *p.NodeID
	}
	return p.NodeName
}

func (a *app) podListCommand() *cobra.Command {
	var q api.PodQuery
	var p paging
	var status, node string
	var follow bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, SuggestFor: []string{"get", "ps"}, Short: "List the pods that you see, newest first",
		Example: "  stark pod list\n  stark pod list --status running --pack hello\n  stark pod list -l app=web -o name\n  stark pod list --watch",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q.Status = api.PodStatus(status)
			if err := q.Validate(); err != nil {
				return err
			}
			if node != "" {
				n, err := findNode(cmd.Context(), c, node)
				if err != nil {
					return err
				}
				q.NodeID = n.ID
			}
			if follow {
				if err := p.noPaging(); err != nil {
					return err
				}
				return printWatch(cmd.Context(), a, podView(), func(a, b api.Pod) int { return b.CreatedAt.Compare(a.CreatedAt) }, c.WatchPods(cmd.Context(), q))
			}
			pods, total, err := collect(p, func(page api.PageQuery) (api.Page[api.Pod], error) {
				q.PageQuery = page
				return c.ListPods(cmd.Context(), q)
			})
			if err != nil {
				return err
			}
			if err := printList(a, podView(), pods); err != nil {
				return err
			}
			a.more(len(pods), 0, total, "--page")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Namespace, "namespace", "", "only pods of this namespace (default: all that you see)")
	f.StringVarP(&status, "status", "s", "", "only pods in this status")
	f.StringVarP(&node, "node", "n", "", "only pods on this node")
	f.StringVar(&q.PackName, "pack", "", "only pods of this pack")
	f.StringVarP(&q.LabelSelector, "label", "l", "", "label selector, such as app=web,tier!=test")
	watchFlag(cmd, &follow)
	p.flags(cmd)
	return cmd
}

func (a *app) podStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status <id>", Aliases: []string{"info", "describe"}, SuggestFor: []string{"show"}, Short: "Show everything about a pod, with its last lines of output; as describe, with what happened to it",
		Example: "  stark pod status 0199f3a2-7c1e-7d3a-9a52-3f1d2f7f0a11", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := findPod(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			var verdict *api.Verdict
			if p.Status == api.PodPending && a.format() == formatTable {
				if verdict, err = c.ExplainPod(cmd.Context(), p.ID); err != nil {
					return err
				}
			}
			var history []api.PodHistoryEntry
			if cmd.CalledAs() == "describe" && a.format() == formatTable {
				if history, err = c.PodHistory(cmd.Context(), p.ID, describedEvents, 0); err != nil {
					return err
				}
			}
			var usage *api.Figures
			if p.NodeID != nil && !p.Status.Terminal() && a.format() == formatTable {
				found, err := c.PodUsage(cmd.Context(), api.UsageQuery{PodID: p.ID})
				if err != nil {
					return err
				}
				if len(found) > 0 {
					usage = found[0].Usage
				}
			}
			return printOne(a, podView(), p, func(w io.Writer) {
				describePod(w, p)
				describeUsage(w, "uses", usage)
				describeTermination(w, p)
				describeVerdict(w, verdict)
				describeHistory(w, history)
			})
		},
	}
}

// describedEvents is how much of what happened to a pod is described.
const describedEvents = 10

// describeHistory writes what happened to a pod, newest first.
func describeHistory(w io.Writer, history []api.PodHistoryEntry) {
	if len(history) == 0 {
		return
	}
	cells := [][]string{{"AGE", "ACTION", "CHANGE", "REASON", "MESSAGE"}}
	for _, e := range history {
		cells = append(cells, []string{
			age(e.Timestamp), string(e.Action), change(e), orDefault(clean(e.Reason), "-"), orDefault(clean(e.Message), "-"),
		})
	}
	block(w, "history", cells)
}

// tolerationText writes a toleration as --toleration takes it.
func tolerationText(t api.Toleration) string {
	text := orDefault(t.Key, "*")
	if t.Operator != api.TolerationExists {
		text += "=" + t.Value
	}
	if t.Effect != "" {
		text += ":" + string(t.Effect)
	}
	if t.TolerationSeconds != nil {
		text += fmt.Sprintf(" for %ds", *t.TolerationSeconds)
	}
	return text
}

func describePod(w io.Writer, p api.Pod) {
	line(w, "id", p.ID)
	line(w, "pack", p.PackName+" "+p.PackVersion)
	line(w, "status", podStatus(p))
	line(w, "message", p.StatusMessage)
	line(w, "node", nodeOf(p))
	line(w, "namespace", p.Namespace)
	line(w, "runtime", string(p.RuntimeTag))
	line(w, "labels", pairs(p.Labels))
	line(w, "requests", resourcesText(p.ResourceRequests))
	line(w, "limits", resourcesText(p.ResourceLimits))
	line(w, "restart policy", string(p.RestartPolicy))
	line(w, "isolation", string(p.Isolation))
	line(w, "grace period", fmt.Sprintf("%ds", p.TerminationGracePeriodSeconds))
	if p.ActiveDeadlineSeconds != nil {
		line(w, "deadline", fmt.Sprintf("%ds", *p.ActiveDeadlineSeconds))
	}
	line(w, "node selector", pairs(p.Scheduling.NodeSelector))
	line(w, "wanted node", p.Scheduling.NodeName)
	for _, t := range p.Tolerations {
		line(w, "toleration", tolerationText(t))
	}
	if e := p.Eviction; e != nil {
		line(w, "leaves", fmt.Sprintf("%s since %s: %s", e.Reason, at(&e.Since), e.Message))
	}
	line(w, "priority", strings.TrimSpace(fmt.Sprintf("%d %s", p.Priority, p.PriorityClassName)))
	if r := p.Rollout; r != nil {
		line(w, "rollout", fmt.Sprintf("version %s on its way, since %s", r.PackVersion, at(&r.Since)))
	}
	line(w, "incarnation", fmt.Sprintf("%d, %d restarts", p.Incarnation, p.Restarts))
	line(w, "created", at(&p.CreatedAt))
	line(w, "scheduled", at(p.ScheduledAt))
	line(w, "started", at(p.StartedAt))
	line(w, "stop asked", at(p.StopRequestedAt))
	line(w, "ended", at(p.StoppedAt))
}

func resourcesText(r api.Resources) string {
	return fmt.Sprintf("cpu %s, memory %s", r.CPU, r.Memory)
}

// shownLines is how much of the last output is shown; there may be 64 KiB of it.
const shownLines = 20

func describeTermination(w io.Writer, p api.Pod) {
	t := p.LastTermination
	if t == nil {
		return
	}
	text := fmt.Sprintf("attempt %d: %s", t.Attempt, t.Reason)
	if t.ExitCode != nil {
		text += fmt.Sprintf(", exit code %d", *t.ExitCode)
	}
	if t.Signal != "" {
		text += ", signal " + t.Signal
	}
	line(w, "last run", text+", "+at(&t.FinishedAt))
	if t.RestartsAt != nil && time.Until(*t.RestartsAt) > 0 {
		line(w, "starts again", fmt.Sprintf("%s (in %s)", t.RestartsAt.Local().Format(time.DateTime), time.Until(*t.RestartsAt).Round(time.Second)))
	}
	line(w, "because", t.Message)
	line(w, "used", fmt.Sprintf("cpu %s, memory %d MiB", time.Duration(t.Usage.CPUMillis)*time.Millisecond, t.Usage.MemoryMiB))
	if output := strings.TrimRight(t.LastOutput, "\n"); output != "" {
		fmt.Fprintln(w, "last output:")
		lines := strings.Split(output, "\n")
		if before := len(lines) - shownLines; before > 0 {
			fmt.Fprintf(w, "  [%d lines before: see `stark pod logs %s`]\n", before, p.ID)
			lines = lines[before:]
		}
		for _, l := range lines {
			fmt.Fprintf(w, "  %s\n", clean(l))
		}
	}
}

// amount writes a number of a refusal as the filter counts it, as other outputs do.
func amount(filter string, n int64) string {
	switch filter {
	case "CPU":
		return api.Millicores(n).String()
	case "Memory", "Storage":
		return api.Mebibytes(n).String()
	default:
		return strconv.FormatInt(n, 10)
	}
}

func describeVerdict(w io.Writer, v *api.Verdict) {
	if v == nil {
		return
	}
	line(w, "waits", v.Reason+": "+v.Message)
	for _, n := range v.Nodes {
		fmt.Fprintf(w, "  %s\t%s: %s", n.NodeName, n.Filter, clean(n.Message))
		if n.Asked > 0 {
			fmt.Fprintf(w, " (asked %s, free %s)", amount(n.Filter, n.Asked), amount(n.Filter, n.Free))
		}
		fmt.Fprintln(w)
	}
	line(w, "would help", v.Change)
}
