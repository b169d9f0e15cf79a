package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// describedNode is all that `node describe` shows.
type describedNode struct {
	Node    api.Node         `json:"node"`
	Pods    []api.Pod        `json:"pods"`            // live ones that the caller sees
	Blocked []api.DrainBlock `json:"blocked"`         // those that a drain has not told to leave
	Usage   *api.Figures     `json:"usage,omitempty"` // of its machine now; absent when it has told none lately
	// PodUsage has what the pods use now, by their id.
	PodUsage map[string]*api.Figures `json:"podUsage"`
	Events   []api.Event             `json:"events"` // of the last day, the newest, oldest first
}

func (a *app) nodeDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe <name|id>", Short: "Show a node with its conditions, taints, pods, and how far a drain is",
		Example: "  stark node describe worker-1\n  stark node describe worker-1 -o yaml", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			d, err := readNode(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if a.format() != formatTable && a.format() != formatName {
				return a.printData(d)
			}
			return printOne(a, nodeView(), d.Node, d.write)
		},
	}
}

func readNode(ctx context.Context, c *client.Client, name string) (describedNode, error) {
	n, err := findNode(ctx, c, name)
	if err != nil {
		return describedNode{}, err
	}
	d := describedNode{Node: n, Pods: []api.Pod{}, Blocked: []api.DrainBlock{}, PodUsage: map[string]*api.Figures{}, Events: []api.Event{}}
	pods, _, err := collect(paging{}, func(page api.PageQuery) (api.Page[api.Pod], error) {
		return c.ListPods(ctx, api.PodQuery{PageQuery: page, NodeID: n.ID})
	})
	if err != nil {
		return d, err
	}
	for _, p := range pods {
		if !p.Status.Terminal() {
			d.Pods = append(d.Pods, p)
		}
	}
	if err := d.readUsage(ctx, c); err != nil {
		return d, err
	}
	events, err := c.Events(ctx, api.EventQuery{Kind: api.EventNode, ObjectID: n.ID, Since: time.Now().Add(-24 * time.Hour), Limit: describedEvents})
	if err != nil {
		return d, err
	}
	d.Events = append(d.Events, events...)
	if n.Drain != nil {
		state, err := c.GetDrain(ctx, n.ID)
		if err != nil {
			return d, err
		}
		d.Blocked = state.Blocked
	}
	return d, nil
}

func (d *describedNode) readUsage(ctx context.Context, c *client.Client) error {
	machines, err := c.NodeUsage(ctx, api.UsageQuery{NodeID: d.Node.ID})
	if err != nil {
		return err
	}
	if len(machines) > 0 {
		d.Usage = machines[0].Usage
	}
	pods, err := c.PodUsage(ctx, api.UsageQuery{NodeID: d.Node.ID})
	for _, p := range pods {
		if p.Usage != nil {
			d.PodUsage[p.PodID] = p.Usage
		}
	}
	return err
}

func (d describedNode) write(w io.Writer) {
	n := d.Node
	line(w, "Name", n.Name)
	line(w, "ID", n.ID)
	line(w, "Status", nodeStatus(n))
	line(w, "Runtime", strings.TrimSpace(string(n.RuntimeType)+" "+n.Capabilities.Version))
	line(w, "Platform", strings.Trim(n.Capabilities.OS+"/"+n.Capabilities.Arch, "/"))
	line(w, "Agent", n.Capabilities.Agent)
	line(w, "Serves", map[bool]string{true: "everybody", false: "its owner"}[n.Shared])
	line(w, "Namespaces", strings.Join(n.Namespaces, ", "))
	line(w, "Registered", at(&n.CreatedAt))
	line(w, "Last change", at(n.LastHeartbeat))
	rows(w, "Labels", labelRows(n.Labels))
	rows(w, "Annotations", labelRows(n.Annotations))
	var taints []string
	for _, t := range n.Taints {
		text := t.String()
		if t.TimeAdded != nil {
			text += " since " + at(t.TimeAdded)
		}
		taints = append(taints, text)
	}
	rows(w, "Taints", taints)
	line(w, "Unschedulable", fmt.Sprint(n.Unschedulable))
	d.writeDrain(w)
	writeConditions(w, n.Conditions)
	writeRoom(w, n)
	describeUsage(w, "Uses", d.Usage)
	writePods(w, d.Pods, d.PodUsage)
	writeEvents(w, d.Events)
}

func (d describedNode) writeDrain(w io.Writer) {
	if d.Node.Drain == nil {
		return
	}
	s := d.Node.Drain
	line(w, "Drain", fmt.Sprintf("%s since %s: %d of %d pods have left", s.Phase, at(&s.Since), s.Total-s.Remaining, s.Total))
	line(w, "  Deadline", at(s.Deadline))
	line(w, "  Ended", at(s.FinishedAt))
	for _, b := range d.Blocked {
		line(w, "  Blocked", fmt.Sprintf("%s (%s): %s", b.PodID, b.PackName, b.Message))
	}
}

// rows writes a list below a title, none as such.
func rows(w io.Writer, title string, values []string) {
	if len(values) == 0 {
		line(w, title, "<none>")
		return
	}
	for i, v := range values {
		if i > 0 {
			fmt.Fprintf(w, "\t%s\n", clean(v))
			continue
		}
		line(w, title, v)
	}
}

func labelRows(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return out
}

// block writes a table below a title, with its own columns.
func block(w io.Writer, title string, cells [][]string) {
	fmt.Fprintf(w, "%s:\n", title)
	for l := range strings.Lines(layOut(cells)) {
		fmt.Fprintf(w, "  %s", l)
	}
}

// writeEvents writes what happened lately, oldest first, as kubectl does.
func writeEvents(w io.Writer, events []api.Event) {
	if len(events) == 0 {
		line(w, "Events", "<none>")
		return
	}
	cells := [][]string{{"TYPE", "REASON", "AGE", "MESSAGE"}}
	for _, e := range events {
		cells = append(cells, []string{string(e.Type), clean(orDefault(e.Reason, e.Action)), orDefault(age(e.Time), "-"), clean(eventMessage(e))})
	}
	block(w, "Events", cells)
}

func writeConditions(w io.Writer, conditions []api.NodeCondition) {
	if len(conditions) == 0 {
		return
	}
	cells := [][]string{{"TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"}}
	for _, c := range conditions {
		cells = append(cells, []string{
			clean(c.Type), fmt.Sprint(c.Status), orDefault(age(c.LastTransitionTime), "-"), orDefault(clean(c.Reason), "-"), orDefault(clean(c.Message), "-"),
		})
	}
	block(w, "Conditions", cells)
}

func writeRoom(w io.Writer, n api.Node) {
	share := func(used, all int64) string { return orDefault(percent(used, all), "-") }
	is, has := n.Allocated, n.Allocatable
	block(w, "Room", [][]string{
		{"RESOURCE", "ALLOCATED", "CAPACITY", "USED"},
		{"cpu", is.CPU.String(), has.CPU.String(), share(int64(is.CPU), int64(has.CPU))},
		{"memory", is.Memory.String(), has.Memory.String(), share(int64(is.Memory), int64(has.Memory))},
		{"storage", is.Storage.String(), has.Storage.String(), share(int64(is.Storage), int64(has.Storage))},
		{"pods", fmt.Sprint(is.Pods), fmt.Sprint(has.Pods), share(int64(is.Pods), int64(has.Pods))},
	})
}

func writePods(w io.Writer, pods []api.Pod, usage map[string]*api.Figures) {
	if len(pods) == 0 {
		line(w, "Pods", "<none that you see>")
		return
	}
	cells := [][]string{{"ID", "PACK", "NAMESPACE", "STATUS", "CPU", "USED", "MEMORY", "USED", "DELAY", "AGE"}}
	var ids [][]string
	for _, p := range pods {
		ids = append(ids, []string{p.ID})
	}
	length := uniqueLength(ids)
	for _, p := range pods {
		cells = append(cells, []string{
			p.ID[:min(length, len(p.ID))], clean(p.PackName), clean(p.Namespace), clean(podStatus(p)),
			p.ResourceRequests.CPU.String(), orDefault(cpuFigure(usage[p.ID]), "-"), p.ResourceRequests.Memory.String(),
			orDefault(memoryFigure(usage[p.ID]), "-"), orDefault(delayFigure(usage[p.ID]), "-"), age(p.CreatedAt),
		})
	}
	block(w, "Pods", cells)
}
