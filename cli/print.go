package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// format is an output format.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatName  format = "name"
)

// parseFormat gives the first that is set, or the table.
func parseFormat(values ...string) (format, error) {
	for _, v := range values {
		switch f := format(v); f {
		case "":
		case formatTable, formatJSON, formatYAML, formatName:
			return f, nil
		default:
			return "", usagef("output format %q: want table, json, yaml or name", v)
		}
	}
	return formatTable, nil
}

func (a *app) format() format {
	f, err := parseFormat(a.flagOutput, a.settings.Output)
	if err != nil { // prepare has refused it
		return formatTable
	}
	return f
}

// column is one column of a table.
type column[T any] struct {
	title string
	value func(T) string
}

// statusColumn is the one that gets colours.
const statusColumn = "STATUS"

// view is how a kind of object is shown.
type view[T any] struct {
	kind    string // as in pod/<id>; "" where the id says it already
	id      func(T) string
	columns []column[T]
	empty   string // said instead of an empty table

	prefixes bool // the commands take the beginning of an id, so that the table may show it
}

// printList shows several objects in the wanted format.
func printList[T any](a *app, v view[T], items []T) error {
	switch a.format() {
	case formatName:
		return printNames(a, v, items)
	case formatTable:
		if len(items) == 0 {
			_, err := fmt.Fprintln(a.stderr, v.empty)
			return err
		}
		return printTable(a, v, items)
	default:
		if items == nil {
			items = []T{}
		}
		return a.printData(items)
	}
}

// printOne shows one object; text writes what people read.
func printOne[T any](a *app, v view[T], item T, text func(w io.Writer)) error {
	switch a.format() {
	case formatName:
		return printNames(a, v, []T{item})
	case formatTable:
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		text(w)
		return w.Flush()
	default:
		return a.printData(item)
	}
}

func printNames[T any](a *app, v view[T], items []T) error {
	for _, item := range items {
		if _, err := fmt.Fprintln(a.stdout, strings.TrimPrefix(v.kind+"/"+v.id(item), "/")); err != nil {
			return err
		}
	}
	return nil
}

// printData writes JSON or YAML with the field names of the API.
func (a *app) printData(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if a.format() == formatYAML {
		if data, err = yamlOf(data); err != nil {
			return err
		}
	} else {
		data = escapeJSON(data)
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", bytes.TrimRight(data, "\n"))
	return err
}

func printTable[T any](a *app, v view[T], items []T) error {
	text := table(v, items, columns(a.stdout))
	if a.color(a.stdout) {
		text = colorColumn(text, statusColumn)
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}

// table lays items out in columns. Ids are shortened where the terminal, of so many
// columns, has no room for whole ones; the commands take the beginning of an id.
func table[T any](v view[T], items []T, width int) string {
	rows := make([][]string, len(items)+1)
	for _, c := range v.columns {
		rows[0] = append(rows[0], c.title)
	}
	for i, item := range items {
		for _, c := range v.columns {
			rows[i+1] = append(rows[i+1], orDefault(clean(c.value(item)), "-"))
		}
	}
	text := layOut(rows)
	first, _, _ := strings.Cut(text, "\n")
	if !v.prefixes || width == 0 || widest(text) <= width || !strings.HasPrefix(first, "ID ") {
		return text
	}
	length := uniqueLength(rows[1:])
	for _, row := range rows[1:] {
		row[0] = row[0][:min(length, len(row[0]))]
	}
	return layOut(rows)
}

func layOut(rows [][]string) string {
	var buf bytes.Buffer
	w := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a buffer takes everything
	return trimLines(buf.String())
}

func widest(text string) int {
	most := 0
	for l := range strings.Lines(text) {
		most = max(most, utf8.RuneCountInString(strings.TrimSuffix(l, "\n")))
	}
	return most
}

// uniqueLength is how much of the first cells tells them apart: at least the part
// of an id that is its time.
func uniqueLength(rows [][]string) int {
	const timePart, whole = 13, 36
	for length := timePart; length < whole; length++ {
		seen := make(map[string]bool, len(rows))
		for _, row := range rows {
			seen[row[0][:min(length, len(row[0]))]] = true
		}
		if len(seen) == len(rows) {
			return length
		}
	}
	return whole
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

// colorColumn colours the cells below a title; before this the table must be
// complete, for colour codes would count as width.
func colorColumn(table, title string) string {
	lines := strings.Split(table, "\n")
	at := strings.Index(lines[0], title)
	if at < 0 {
		return table
	}
	at = utf8.RuneCountInString(lines[0][:at])
	for i, line := range lines[1:] {
		runes := []rune(line)
		if len(runes) <= at {
			continue
		}
		cell, rest, found := strings.Cut(string(runes[at:]), "  ")
		if found {
			rest = "  " + rest
		}
		lines[i+1] = string(runes[:at]) + colored(cell) + rest
	}
	return strings.Join(lines, "\n")
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	grey   = "90"
)

// colored colours a status by its first word.
func colored(status string) string {
	word, _, _ := strings.Cut(status, " ")
	var code string
	switch word {
	case "running", "online", "ready", "succeeded", "up", "healthy", "active":
		code = green
	case "pending", "scheduled", "starting", "stopping", "draining", "maintenance", "suspect", "unknown", "degraded":
		code = yellow
	case "failed", "evicted", "unhealthy", "down":
		code = red
	case "stopped", "offline":
		code = grey
	default:
		return status
	}
	return paint(code, status)
}

func paint(code, s string) string { return "\x1b[" + code + "m" + s + "\x1b[0m" }

// line writes one line "name: value" of a description, unless the value is empty.
func line(w io.Writer, name, value string) {
	if value != "" {
		fmt.Fprintf(w, "%s:\t%s\n", name, clean(value))
	}
}

// age tells how long ago something was, as short as kubectl does.
func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := max(time.Since(t), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// at tells a point of time and how long ago it was.
func at(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", t.Local().Format(time.DateTime), age(*t))
}

// size tells bytes as people read them.
func size(n int64) string {
	const kilo = 1000
	switch {
	case n < kilo:
		return fmt.Sprintf("%d B", n)
	case n < kilo*kilo:
		return fmt.Sprintf("%.1f kB", float64(n)/kilo)
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/kilo/kilo)
	}
}

// seconds tells a duration in seconds with one decimal, or in milliseconds.
func seconds(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

// done says that something has happened: an object for machines, a line for people.
func (a *app) done(fields map[string]any, format string, args ...any) error {
	switch a.format() {
	case formatJSON, formatYAML:
		return a.printData(fields)
	default:
		_, err := fmt.Fprintf(a.stdout, format+"\n", args...)
		return err
	}
}
