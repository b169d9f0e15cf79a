package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one measured row. Value is the p50 of a latency, or the figure itself.
type figure struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	P50   float64 `json:"p50,omitempty"`
	P95   float64 `json:"p95,omitempty"`
	P99   float64 `json:"p99,omitempty"`
	Setup string  `json:"setup"`

	Samples int `json:"samples,omitempty"` // of a latency: of a single one there is nothing but the figure

	Latency string `json:"latencyUnit,omitempty"` // of P50, P95 and P99 where Value is something else

	Seconds float64 `json:"seconds,omitempty"` // that the step took whose figure it is

	Target string `json:"target,omitempty"`
	Met    *bool  `json:"met,omitempty"` // nil without a target
}

// latencies records a row by its samples.
func (b *bench) latencies(key, setup string, samples []time.Duration) {
	if len(samples) == 0 {
		return
	}
	slices.Sort(samples)
	at := func(q float64) float64 {
		i := min(int(q*float64(len(samples))), len(samples)-1)
		return float64(samples[i].Microseconds()) / 1000
	}
	b.figures[key] = figure{
		Value: at(0.5), Unit: "ms", P50: at(0.5), P95: at(0.95), P99: at(0.99),
		Samples: len(samples), Setup: fmt.Sprintf("%s; %s", setup, howMany(len(samples))),
	}
}

func howMany(samples int) string {
	if samples == 1 {
		return "1 sample"
	}
	return fmt.Sprintf("%d samples", samples)
}

// median records a row that is measured a few times only.
func (b *bench) median(key, setup string, samples []time.Duration) {
	slices.Sort(samples)
	b.figures[key] = figure{
		Value: float64(samples[len(samples)/2].Microseconds()) / 1000, Unit: "ms",
		Setup: fmt.Sprintf("%s; median of %d", setup, len(samples)),
	}
}

// print shows what there is: rows that failed by their errors, behind the others.
func (b *bench) print(out io.Writer, took time.Duration) error {
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "key\tfigure\tp50\tp95\tp99\ttarget\t\ttook\tsetup")
	for _, r := range rows {
		f, ok := b.figures[r.key]
		if !ok {
			if b.failed[r.key] != nil {
				fmt.Fprintf(tw, "%s\tfailed\t-\t-\t-\t%s\tfailed\t-\tsee below\n", r.key, r.target)
			}
			continue
		}
		p50, p95, p99 := "-", "-", "-"
		if f.P99 > 0 && f.Samples != 1 {
			unit := " " + cmp.Or(f.Latency, f.Unit)
			p50, p95, p99 = number(f.P50)+unit, number(f.P95)+unit, number(f.P99)+unit
		}
		fmt.Fprintf(tw, "%s\t%s %s\t%s\t%s\t%s\t%s\t%s\t%.1f s\t%s\n", r.key, number(f.Value), f.Unit, p50, p95, p99, r.target, judgement(f, r.target), f.Seconds, f.Setup)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return b.printEnd(out, took)
}

// number writes a figure as exactly as its target is.
func number(v float64) string {
	if math.Abs(v) < 1 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// judgement says whether a target is met, or by how much it is missed.
func judgement(f figure, target string) string {
	by, err := missed(f, target)
	switch {
	case target == none:
		return none
	case err != nil:
		return err.Error()
	case by != "":
		return "missed " + by
	default:
		return "met"
	}
}

// judge notes the target of each figure that has one.
func (b *bench) judge() error {
	for _, r := range rows {
		f, ok := b.figures[r.key]
		if !ok || r.target == none {
			continue
		}
		by, err := missed(f, r.target)
		if err != nil {
			return fmt.Errorf("%s: %w", r.key, err)
		}
		f.Target, f.Met = r.target, new(by == "")
		b.figures[r.key] = f
	}
	return nil
}

// printEnd says how long all took, and what has failed and why.
func (b *bench) printEnd(out io.Writer, took time.Duration) error {
	_, err := fmt.Fprintf(out, "\n%d rows in %.0f s, of which clusters took %.0f s to start and to end; load average %s\n", len(b.figures), took.Seconds(), b.opening.Seconds(), load())
	tellMissing(out, "failed", b.failed)
	tellMissing(out, "left out", b.leftOut)
	return err
}

// tellMissing says why there are no figures of rows.
func tellMissing(out io.Writer, what string, rows map[string]error) {
	reasons := map[string][]string{} // by the text: what one step measures fails as one
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		reason := strings.TrimPrefix(rows[key].Error(), what+": ")
		reasons[reason] = append(reasons[reason], key)
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(out, "\n%s %s: %s\n", strings.Join(reasons[reason], ", "), what, strings.TrimSpace(reason))
	}
}

// failure stands in the file for a row without a figure.
type failure struct {
	Failed  string `json:"failed,omitempty"`
	LeftOut string `json:"leftOut,omitempty"` // it cannot be measured here
}

func (b *bench) write(file string) error {
	all := map[string]any{}
	for key, f := range b.figures {
		all[key] = f
	}
	for key, err := range b.failed {
		all[key] = failure{Failed: err.Error()}
	}
	for key, err := range b.leftOut {
		all[key] = failure{LeftOut: err.Error()}
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
