package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
)

func historyView() view[api.PodHistoryEntry] {
	return view[api.PodHistoryEntry]{
		kind: "history", id: func(e api.PodHistoryEntry) string { return e.ID }, empty: "no history",
		columns: []column[api.PodHistoryEntry]{
			{"TIME", func(e api.PodHistoryEntry) string { return e.Timestamp.Local().Format(time.DateTime) }},
			{"ACTION", func(e api.PodHistoryEntry) string { return string(e.Action) }},
			{"CHANGE", change},
			{"ATTEMPT", func(e api.PodHistoryEntry) string {
				if e.Attempt == 0 {
					return ""
				}
				return fmt.Sprintf("%d.%d", e.Incarnation, e.Attempt)
			}},
			{"REASON", func(e api.PodHistoryEntry) string { return e.Reason }},
			{"MESSAGE", func(e api.PodHistoryEntry) string { return e.Message }},
		},
	}
}

func change(e api.PodHistoryEntry) string {
	if e.Action == api.ActionRolledBack {
		return fmt.Sprintf("%s -> %s", e.PreviousVersion, e.NewVersion)
	}
	if e.PreviousStatus == e.NewStatus || e.PreviousStatus == "" {
		return string(e.NewStatus)
	}
	return fmt.Sprintf("%s -> %s", e.PreviousStatus, e.NewStatus)
}

func (a *app) podHistoryCommand() *cobra.Command {
	var limit, offset int
	cmd := &cobra.Command{
		Use: "history <id>", Short: "Show what happened to a pod, newest first", Example: "  stark pod history <id> --limit 10",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			id, err := podID(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			entries, err := c.PodHistory(cmd.Context(), id, limit, offset)
			if err != nil {
				return named(err, "pod", args[0])
			}
			return printList(a, historyView(), entries)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many entries (default 50)")
	cmd.Flags().IntVar(&offset, "offset", 0, "leave out so many")
	return cmd
}

func nothingToExplain(p api.Pod) string {
	text := fmt.Sprintf("pod %s is %s", p.ID, podStatus(p))
	switch {
	case p.StatusMessage != "":
		text += ": " + strings.TrimSpace(p.StatusMessage)
	case p.Status == api.PodPending:
		text += ": the scheduler has not looked at it yet"
	case nodeOf(p) != "":
		text += " on " + nodeOf(p)
	}
	return text
}
