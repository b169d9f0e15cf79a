// Command bench measures Stark as a user would meet it: the real binary, its
// server and agents as processes, real Node.js workers, and a real Postgres with
// durable commits, all on this machine's loopback. It prints a table and writes
// tests/bench/out/latest.json.
//
// usage: bench [-n samples] [-only key,...] [-full] [-out file]
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stark-orchestrator/stark/tests/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// figure is one measured row. Value is the p50 of a latency, or the figure itself.
type figure struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	P50   float64 `json:"p50,omitempty"`
	P99   float64 `json:"p99,omitempty"`
	Setup string  `json:"setup"`

	Latency string `json:"latencyUnit,omitempty"` // of P50 and P99 where Value is something else
}

// row is one measurement: its key and what it should reach.
type row struct {
	key    string
	target string
}

// rows are in the order in which they are printed.
var rows = []row{
	{"deploy.running", "p50 <= 20 ms, p99 <= 60 ms"},
	{"deploy.running.nopool", "p50 <= 90 ms, p99 <= 180 ms"},
	{"deploy.running.cold", "p50 <= 50 ms"},
	{"deploy.burst50", "<= 1800 ms"},
	{"deploy.burst50.shared", "<= 1100 ms"},
	{"machine.node50", "none: what the machine itself needs"},
	{"rollback", "p50 <= 150 ms"},
	{"stop", "p50 <= 30 ms"},
	{"node.lost", "p99 <= 250 ms"},
	{"failover.term", "<= 500 ms"},
	{"failover.kill", "<= 16000 ms"},
	{"watch.lag", "p50 <= 5 ms, p99 <= 25 ms"},
	{"logs", ">= 20000/s"},
	{"logs.agent.cpu", "none"},
	{"logs.server.cpu", "none"},
	{"logs.crowd", "none"},
	{"logs.crowd.rss", "<= 300 MiB"},
	{"dev.ready.first", "<= 8000 ms"},
	{"dev.ready", "<= 3000 ms"},
	{"server.ready", "<= 1000 ms"},
	{"schedule.bound.1k", ">= 12000 pods/s"},
	{"schedule.bound.1k.cpu", "<= 0.4 ms"},
	{"schedule.bound.5k", ">= 10000 pods/s"},
	{"schedule.bound.5k.cpu", "none"},
	{"schedule.latency", "p50 <= 4 ms, p99 <= 10 ms"},
	{"plan.pod.100", "none"},
	{"plan.pod.1000", "<= 25 us"},
	{"plan.pod.10000", "<= 250 us"},
	{"explain", "<= 20 ms"},
	{"tab.size", "<= 0.80 MB"},
	{"tab.registered", "p50 <= 500 ms"},
	{"tab.running", "p50 <= 80 ms"},
	{"server.rss.empty", "<= 50 MiB"},
	{"server.rss", "<= 300 MiB"},
	{"rest.read", ">= 8000/s, p99 <= 15 ms"},
	{"rest.list", "p99 <= 20 ms"},
	{"rest.create", ">= 5000/s, p99 <= 60 ms"},
	{"rest.create.bulk", ">= 20000 pods/s"},
	{"agents.1k", "none"},
	{"agents.1k.memory", "<= 32 KiB"},
	{"agents.1k.statements", "<= 2/s"},
	{"agents.1k.wal", "<= 150 bytes"},
	{"agents.connect.1k", "none"},
	{"agents.10k", "<= 25 %"},
	{"agents.10k.memory", "<= 32 KiB"},
	{"agents.10k.statements", "<= 2/s"},
	{"agents.10k.wal", "<= 150 bytes"},
	{"agents.connect", "<= 20 s"},
	{"scale.1k", "none"},
	{"scale.1k.ready", "none"},
	{"scale.1k.rss", "none"},
	{"scale.1k.list", "none"},
	{"scale.10k", "none"},
	{"scale.10k.ready", "none"},
	{"scale.10k.rss", "none"},
	{"scale.10k.list", "none"},
	{"scale.100k", "none"},
	{"scale.100k.ready", "none"},
	{"scale.100k.rss", "none"},
	{"scale.100k.list", "none"},
}

type bench struct {
	samples int
	only    []string
	full    bool // also what takes long
	stark   string
	dir     string
	figures map[string]figure
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	b := &bench{figures: map[string]figure{}}
	flags.IntVar(&b.samples, "n", 100, "samples of each latency")
	only := flags.String("only", "", "keys to measure, separated by commas; all if empty")
	flags.BoolVar(&b.full, "full", false, "measure also what takes long")
	file := flags.String("out", "tests/bench/out/latest.json", "where the figures are written")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "stark-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.stark, err = harness.Build(ctx, b.dir); err != nil {
		return err
	}
	for _, measure := range []func(context.Context) error{
		b.plans, b.deploys, b.noPool, b.failovers, b.lag, b.logs, b.dev, b.serverReady, b.bound, b.scheduleLatency, b.memory, b.rest, b.agents, b.tabs, b.scale,
	} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return b.write(out, *file)
}

// wants reports whether any of the keys is to be measured.
func (b *bench) wants(keys ...string) bool {
	return len(b.only) == 0 || slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(b.only, k) })
}

// latencies records a row by its samples.
func (b *bench) latencies(key, setup string, samples []time.Duration) {
	slices.Sort(samples)
	at := func(q float64) float64 {
		i := min(int(q*float64(len(samples))), len(samples)-1)
		return float64(samples[i].Microseconds()) / 1000
	}
	b.figures[key] = figure{
		Value: at(0.5), Unit: "ms", P50: at(0.5), P99: at(0.99),
		Setup: fmt.Sprintf("%s; %d samples", setup, len(samples)),
	}
}

// median records a row that is measured a few times only.
func (b *bench) median(key, setup string, samples []time.Duration) {
	slices.Sort(samples)
	b.figures[key] = figure{
		Value: float64(samples[len(samples)/2].Microseconds()) / 1000, Unit: "ms",
		Setup: fmt.Sprintf("%s; median of %d", setup, len(samples)),
	}
}

func (b *bench) write(out io.Writer, file string) error {
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "key\tp50\tp99\ttarget\tsetup")
	for _, r := range rows {
		f, ok := b.figures[r.key]
		if !ok {
			continue
		}
		p99 := "-"
		if f.P99 > 0 {
			p99 = fmt.Sprintf("%.1f %s", f.P99, cmp.Or(f.Latency, f.Unit))
		}
		fmt.Fprintf(tw, "%s\t%.1f %s\t%s\t%s\t%s\n", r.key, f.Value, f.Unit, p99, r.target, f.Setup)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	data, err := json.MarshalIndent(b.figures, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
