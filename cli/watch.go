package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// watchFlag adds --watch to a list.
func watchFlag(cmd *cobra.Command, on *bool) {
	cmd.Flags().BoolVarP(on, "watch", "w", false, "show what exists, then every change, until Ctrl-C")
}

// noPaging refuses to page through what does not end.
func (p *paging) noPaging() error {
	if p.page != 0 || p.limit != 0 {
		return usagef("--watch shows everything: leave --page and --limit away")
	}
	return nil
}

// watchEvent is one line of a watch as JSON.
type watchEvent[T any] struct {
	Event  string `json:"event"` // put or delete
	Object T      `json:"object"`
}

// printWatch shows a watch until it ends. A table begins with what exists and goes on
// with a row per change, in the same columns as far as they fit.
func printWatch[T any](ctx context.Context, a *app, v view[T], newest func(a, b T) int, changes iter.Seq2[client.Change[T], error]) error {
	w := &watchPrinter[T]{a: a, v: v, newest: newest}
	for c, err := range changes {
		if err == nil {
			err = w.show(c)
		}
		if err != nil {
			if errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return nil // Ctrl-C is how a watch ends
			}
			return err
		}
	}
	return nil
}

type watchPrinter[T any] struct {
	a      *app
	v      view[T]
	newest func(a, b T) int
	first  []T // what exists, until all of it is there
	synced bool
	widths []int
}

func (w *watchPrinter[T]) show(c client.Change[T]) error {
	if w.a.format() != formatTable {
		if c.Synced {
			return nil
		}
		return w.data(c)
	}
	switch {
	case c.Synced:
		w.synced = true
		slices.SortFunc(w.first, w.newest)
		return w.rows(w.first, true, false)
	case !w.synced:
		w.first = append(w.first, c.Object)
		return nil
	default:
		return w.rows([]T{c.Object}, false, c.Deleted)
	}
}

// rows prints rows in columns that never become narrower.
func (w *watchPrinter[T]) rows(items []T, titles, deleted bool) error {
	var lines [][]string
	if titles {
		var head []string
		for _, c := range w.v.columns {
			head = append(head, c.title)
		}
		lines = append(lines, head)
	}
	for _, item := range items {
		var line []string
		for _, c := range w.v.columns {
			text := orDefault(clean(c.value(item)), "-")
			if deleted && c.title == statusColumn {
				text = "deleted"
			}
			line = append(line, text)
		}
		lines = append(lines, line)
	}
	w.widths = append(w.widths, make([]int, max(0, len(w.v.columns)-len(w.widths)))...)
	for _, line := range lines {
		for i, cell := range line {
			w.widths[i] = max(w.widths[i], len([]rune(cell)))
		}
	}
	var out strings.Builder
	for _, line := range lines {
		var row strings.Builder
		for i, cell := range line {
			fmt.Fprintf(&row, "%-*s  ", w.widths[i], cell)
		}
		out.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
	_, err := io.WriteString(w.a.stdout, out.String())
	return err
}

// data prints one change for a program: a line of JSON, a YAML document or a name.
func (w *watchPrinter[T]) data(c client.Change[T]) error {
	if w.a.format() == formatName {
		return printNames(w.a, w.v, []T{c.Object})
	}
	event := watchEvent[T]{Event: wire.EventPut, Object: c.Object}
	if c.Deleted {
		event.Event = wire.EventDelete
	}
	data, err := json.Marshal(event)
	if err == nil && w.a.format() == formatYAML {
		if data, err = yamlOf(data); err == nil {
			data = append([]byte("---\n"), data...)
		}
	} else {
		data = escapeJSON(data)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.a.stdout, "%s\n", bytes.TrimRight(data, "\n"))
	return err
}
