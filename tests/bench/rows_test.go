package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMissed(t *testing.T) {
	t.Parallel()
	latency := figure{Value: 18, Unit: "ms", P50: 18, P99: 66}
	rate := figure{Value: 6000, Unit: "/s", P50: 3, P99: 12, Latency: "ms"}
	for _, c := range []struct {
		f            figure
		target, want string
	}{
		{latency, "p50 <= 20 ms, p99 <= 70 ms", ""},
		{latency, "p50 <= 20 ms, p99 <= 60 ms", "p99 by 10 %"},
		{latency, "p50 <= 12 ms, p99 <= 60 ms", "p50 by 50 %, p99 by 10 %"},
		{rate, ">= 8000/s, p99 <= 15 ms", "by 25 %"},
		{rate, ">= 6000/s, p99 <= 12 ms", ""},
		{figure{Value: 330, Unit: "MiB"}, "<= 300 MiB", "by 10 %"},
		{figure{Value: 1206, Unit: "MiB"}, "<= 300 MiB", "by 302 %"},
		{figure{Value: 303.6, Unit: "MiB"}, "<= 300 MiB", "by 1.2 %"},
		{figure{Value: 1}, none, ""},
	} {
		if got, err := missed(c.f, c.target); err != nil || got != c.want {
			t.Errorf("%v of %q: %q, %v; want %q", c.f, c.target, got, err, c.want)
		}
	}
	for _, target := range []string{"", "20 ms", "p50 < 20 ms", "p50 <= 20 s"} {
		if _, err := missed(latency, target); err == nil {
			t.Errorf("%q: no error", target)
		}
	}
}

func TestTheTargetIsWrittenBesideTheFigure(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.figures["stop"] = figure{Value: 33, Unit: "ms", P50: 33}
	b.figures["rest.list"] = figure{Value: 10, Unit: "ms", P50: 10, P99: 15}
	b.figures["machine.node50"] = figure{Value: 10, Unit: "ms"}
	if err := b.judge(); err != nil {
		t.Fatal(err)
	}
	stop, list, bare := b.figures["stop"], b.figures["rest.list"], b.figures["machine.node50"]
	if stop.Target != "p50 <= 30 ms" || stop.Met == nil || *stop.Met || list.Met == nil || !*list.Met || bare.Met != nil || bare.Target != "" {
		t.Errorf("got %+v, %+v, %+v", stop, list, bare)
	}
	if got := judgement(stop, stop.Target); got != "missed p50 by 10 %" {
		t.Errorf("the judgement: %q", got)
	}
}

var (
	docRow = regexp.MustCompile("(?m)^\\| (`[^|]*) \\| [^|]* \\| ([^|]*) \\|$")
	docKey = regexp.MustCompile("`([a-z0-9.]+)`")
)

// The table of docs/bench.md has the targets that the bench prints.
func TestTheDocumentHasTheTargets(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/bench.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| key | what | target |")
	if !ok {
		t.Fatal("docs/bench.md has no table of targets")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	documented := map[string]string{}
	for _, row := range docRow.FindAllStringSubmatch(table, -1) {
		for _, key := range docKey.FindAllStringSubmatch(row[1], -1) {
			documented[key[1]] = strings.ReplaceAll(strings.ReplaceAll(row[2], ", ", "; "), ",", "")
		}
	}
	for _, r := range rows {
		if _, err := goals(r.target); err != nil {
			t.Errorf("%s: %v", r.key, err)
		}
		got, ok := documented[r.key]
		want := strings.ReplaceAll(r.target, ", ", "; ")
		if ok && got != want || !ok && want != none {
			t.Errorf("%s: docs/bench.md has the target %q, the bench %q", r.key, got, want)
		}
	}
	for key, target := range documented {
		if target != none && !slices.ContainsFunc(rows, func(r row) bool { return r.key == key }) {
			t.Errorf("docs/bench.md has a target for %s, which is no row", key)
		}
	}
}
