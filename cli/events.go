package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

func eventView() view[api.Event] {
	return view[api.Event]{
		kind: "event", id: func(e api.Event) string { return e.ID }, empty: "no events",
		columns: []column[api.Event]{
			{"TIME", func(e api.Event) string { return e.Time.Local().Format(time.DateTime) }},
			{"TYPE", func(e api.Event) string { return string(e.Type) }},
			{"OBJECT", eventObject},
			{"REASON", func(e api.Event) string { return orDefault(e.Reason, e.Action) }},
			{"MESSAGE", eventMessage},
		},
	}
}

// eventObject names what the event is about as the other commands take it.
func eventObject(e api.Event) string {
	if e.Kind == api.EventNode {
		return nodeView().kind + "/" + e.ObjectName
	}
	return podView().kind + "/" + e.ObjectID
}

func eventMessage(e api.Event) string {
	change := ""
	switch {
	case e.PreviousStatus == "" || e.NewStatus == "":
		change = e.PreviousStatus + e.NewStatus
	case e.PreviousStatus != e.NewStatus:
		change = e.PreviousStatus + " -> " + e.NewStatus
	}
	parts := []string{}
	for _, p := range []string{change, e.Message} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return e.Action
	}
	return strings.Join(parts, ": ")
}

type eventFlags struct {
	of, since, kind string
	watch, warnings bool
	query           api.EventQuery
}

func (a *app) eventsCommand() *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use: "events", Aliases: []string{"event"}, Short: "Show what happened to pods and nodes, oldest first",
		Long: `Show what happened to pods and nodes, oldest first: moves of pods with their reasons,
why pods wait, and the status and conditions of nodes. Without --since the last hour is
shown; --watch goes on with every further event until Ctrl-C.`,
		Example: "  stark events\n  stark events -w --namespace shop\n  stark events --for pod/0199f3a2-7c1e-7d3a-9a52-3f1d2f7f0a11 --since 24h\n  stark events --for node/worker-1 --warnings -o json",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.events(cmd.Context(), f) },
	}
	p := cmd.Flags()
	p.StringVar(&f.of, "for", "", "only of this one: pod/<id> or node/<name>")
	p.StringVar(&f.query.Namespace, "namespace", "", "only of pods in this namespace")
	p.StringVar(&f.kind, "kind", "", "only of pods, or of nodes: pod or node")
	p.StringVar(&f.since, "since", "", "from then on: 10m, or 2026-01-31T12:00:00Z (default 1h)")
	p.IntVar(&f.query.Limit, "limit", 0, fmt.Sprintf("the newest so many (default %d, at most %d)", api.DefaultEvents, api.MaxEvents))
	p.BoolVar(&f.warnings, "warnings", false, "only what deserves a look")
	watchFlag(cmd, &f.watch)
	return cmd
}

func (a *app) events(ctx context.Context, f eventFlags) error {
	q := f.query
	q.Kind = api.EventKind(f.kind)
	since, err := parseSince(f.since)
	if err != nil {
		return err
	}
	if since != nil {
		q.Since = *since
	}
	if q.Limit < 0 || q.Limit > api.MaxEvents {
		return usagef("--limit %d: want 1 to %d", q.Limit, api.MaxEvents)
	}
	if err := new(q).Validate(time.Now()); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := aboutObject(ctx, c, f.of, &q); err != nil {
		return err
	}
	wanted := func(e api.Event) bool { return !f.warnings || e.Type == api.EventWarning }
	if f.watch {
		return a.watchEvents(ctx, c, q, wanted)
	}
	found, err := c.Events(ctx, q)
	if err != nil {
		return err
	}
	shown := []api.Event{}
	for _, e := range found {
		if wanted(e) {
			shown = append(shown, e)
		}
	}
	return printList(a, eventView(), shown)
}

// aboutObject narrows the query to one object. A node that is gone has no name any
// more that could be asked for; its id is taken as it is, and so is that of a pod.
func aboutObject(ctx context.Context, c *client.Client, of string, q *api.EventQuery) error {
	if of == "" {
		return nil
	}
	name, isNode := strings.CutPrefix(of, nodeView().kind+"/")
	switch {
	case isNode && q.Namespace != "":
		return usagef("--for %s: nodes are in no namespace, leave -n away", of)
	case isNode && api.ValidID(name):
		q.Kind, q.ObjectID = api.EventNode, name
		return nil
	case isNode:
		n, err := findNode(ctx, c, name)
		q.Kind, q.ObjectID = api.EventNode, n.ID
		return err
	default:
		id, err := podID(ctx, c, of)
		q.Kind, q.ObjectID = api.EventPod, id
		return err
	}
}

// watchEvents writes a row or a line per event as it comes.
func (a *app) watchEvents(ctx context.Context, c *client.Client, q api.EventQuery, wanted func(api.Event) bool) error {
	v := eventView()
	if a.format() == formatTable {
		fmt.Fprintf(a.stdout, "%-19s  %-7s  %-41s  %-20s  %s\n", "TIME", "TYPE", "OBJECT", "REASON", "MESSAGE")
	}
	for e, err := range c.WatchEvents(ctx, q) {
		if err != nil {
			if errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return nil // Ctrl-C is how a watch ends
			}
			return err
		}
		if !wanted(e) {
			continue
		}
		if err := a.eventLine(v, e); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) eventLine(v view[api.Event], e api.Event) error {
	switch a.format() {
	case formatTable:
		cells := make([]any, len(v.columns))
		for i, col := range v.columns {
			cells[i] = orDefault(clean(col.value(e)), "-")
		}
		_, err := fmt.Fprintf(a.stdout, "%-19s  %-7s  %-41s  %-20s  %s\n", cells...)
		return err
	case formatName:
		return printNames(a, v, []api.Event{e})
	case formatJSON:
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", escapeJSON(data))
		return err
	default:
		if _, err := fmt.Fprintln(a.stdout, "---"); err != nil {
			return err
		}
		return a.printData(e)
	}
}
