package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func newBench(t *testing.T) *bench {
	t.Helper()
	return &bench{dir: t.TempDir(), errOut: io.Discard, figures: map[string]figure{}, failed: map[string]error{}, leftOut: map[string]error{}}
}

// recorded is a stage whose openings, steps and ends are noted.
type recorded struct {
	b   *bench
	did []string
}

func (r *recorded) stage(name string, openErr error, steps ...step) stage {
	return stage{name: name, steps: steps, open: func(context.Context) (func(), error) {
		r.did = append(r.did, "open "+name)
		return func() { r.did = append(r.did, "shut "+name) }, openErr
	}}
}

// step gives its keys a figure, or fails.
func (r *recorded) step(err error, keys ...string) step {
	return step{keys: keys, measure: func(context.Context) error {
		r.did = append(r.did, keys...)
		for _, key := range keys {
			if err == nil {
				r.b.figures[key] = figure{Value: 1, Unit: "ms"}
			}
		}
		return err
	}}
}

func TestARowThatFailsLosesNoOther(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := &recorded{b: b}
	err := b.measure(t.Context(), []stage{
		r.stage("first", nil, r.step(nil, "plan.pod.100"), r.step(errors.New("the agent has ended"), "stop", "deploy.running"), r.step(nil, "rollback")),
		r.stage("second", errors.New("no Postgres"), r.step(nil, "logs"), r.step(nil, "explain")),
		r.stage("third", nil, r.step(nil, "node.lost")),
	})
	if err == nil || !strings.Contains(err.Error(), "4 rows failed") {
		t.Errorf("the error: %v", err)
	}
	want := []string{
		"open first", "plan.pod.100", "stop", "deploy.running", "shut first", "open first", "rollback", "shut first",
		"open second", "shut second", "open third", "node.lost", "shut third",
	}
	if !slices.Equal(r.did, want) {
		t.Errorf("got  %q\nwant %q", r.did, want)
	}
	var out bytes.Buffer
	if err := b.print(&out, time.Second); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"deploy.running, stop failed: the agent has ended", "explain, logs failed: start second: no Postgres", "3 rows in 1 s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	file := filepath.Join(t.TempDir(), "out", "latest.json")
	if err := b.write(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if all["stop"]["failed"] != "the agent has ended" || all["stop"]["value"] != nil || all["rollback"]["value"] != 1.0 || len(all) != 7 {
		t.Errorf("the file has %s", text)
	}
}

func TestAnInterruptKeepsWhatThereIs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := &recorded{b: b}
	ctx, interrupt := context.WithCancel(t.Context())
	cut := step{keys: []string{"stop"}, measure: func(ctx context.Context) error {
		interrupt()
		return ctx.Err()
	}}
	err := b.measure(ctx, []stage{
		r.stage("first", nil, r.step(nil, "rollback"), cut, r.step(nil, "node.lost")),
		r.stage("second", nil, r.step(nil, "logs")),
	})
	if err == nil || !strings.Contains(err.Error(), "interrupted: 2 of 4") {
		t.Errorf("the error: %v", err)
	}
	if want := []string{"open first", "rollback", "shut first"}; !slices.Equal(r.did, want) {
		t.Errorf("got %q, want %q", r.did, want)
	}
	if len(b.failed) > 0 || len(b.figures) != 1 {
		t.Errorf("figures %v, failed %v", b.figures, b.failed)
	}
}

// A stage that is interrupted while it starts has begun none of its steps.
func TestAnInterruptNamesNoStepThatHasNotBegun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var told strings.Builder
	b.errOut = &told
	r := &recorded{b: b}
	ctx, interrupt := context.WithCancel(t.Context())
	slow := stage{name: "slow", steps: []step{r.step(nil, "stop"), r.step(nil, "logs")}, open: func(ctx context.Context) (func(), error) {
		interrupt()
		return nil, ctx.Err()
	}}
	err := b.measure(ctx, []stage{r.stage("first", nil, r.step(nil, "rollback")), slow})
	if err == nil || !strings.Contains(err.Error(), "1 of 3 steps were begun") {
		t.Errorf("the error: %v", err)
	}
	if strings.Contains(told.String(), "stop") || !strings.Contains(told.String(), "slow: interrupted\n") {
		t.Errorf("it says %q", told.String())
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	t.Parallel()
	var told strings.Builder
	if err := run(t.Context(), []string{"-h"}, io.Discard, &told); err != nil || !strings.Contains(told.String(), "-only") {
		t.Errorf("%v, %q", err, told.String())
	}
}

// Of a single sample there are no quantiles.
func TestOneSampleIsAFigureAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.latencies("failover.kill", "leader killed", []time.Duration{15 * time.Second})
	b.latencies("failover.term", "leader stopped", []time.Duration{time.Second, 2 * time.Second})
	var out strings.Builder
	if err := b.print(&out, time.Second); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		switch {
		case strings.HasPrefix(line, "failover.kill") && (strings.Count(line, "15000.0 ms") != 1 || !strings.Contains(line, "; 1 sample\n")),
			strings.HasPrefix(line, "failover.term") && strings.Count(line, "2000.0 ms") != 4:
			t.Errorf("got %s", line)
		}
	}
}

func TestWhatIsMeasured(t *testing.T) {
	t.Parallel()
	long := step{keys: []string{"agents.10k", "agents.connect"}, when: inFull}
	short := step{keys: []string{"stop"}}
	asked := step{keys: []string{"scale.100k"}, when: whenAsked}
	for _, c := range []struct {
		only  []string
		full  bool
		long  bool
		short bool
		asked bool
	}{
		{short: true},
		{full: true, long: true, short: true},
		{only: []string{"stop"}, full: true, short: true},
		{only: []string{"agents.connect"}, long: true},
		{only: []string{"scale.100k"}, asked: true},
	} {
		b := &bench{only: c.only, full: c.full}
		if got := [3]bool{b.wants(long), b.wants(short), b.wants(asked)}; got != [3]bool{c.long, c.short, c.asked} {
			t.Errorf("-only %q -full=%v: got long, short, asked %v", c.only, c.full, got)
		}
	}
}

func TestWhatCannotBeMeasuredHereIsNoFailure(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := &recorded{b: b}
	tabs := stage{name: "tabs", steps: []step{r.step(nil, "tab.size")}, open: func(context.Context) (func(), error) { return nil, errLeftOut }}
	if err := b.measure(t.Context(), []stage{tabs, r.stage("other", nil, r.step(nil, "stop"))}); err != nil {
		t.Error(err)
	}
	if len(b.failed) > 0 || len(b.figures) != 1 {
		t.Errorf("figures %v, failed %v", b.figures, b.failed)
	}
}

// Every step names rows of the table, and every row is measured by one step.
func TestStepsMeasureTheRows(t *testing.T) {
	t.Parallel()
	var measured []string
	for _, s := range newBench(t).stages() {
		for _, step := range s.steps {
			measured = append(measured, step.keys...)
		}
	}
	var known []string
	for _, r := range rows {
		known = append(known, r.key)
	}
	slices.Sort(measured)
	slices.Sort(known)
	if !slices.Equal(measured, known) {
		t.Errorf("steps measure %q\nrows are      %q", measured, known)
	}
}

// Each row that is compared is measured by the run that compares.
func TestStepsMeasureThePairs(t *testing.T) {
	t.Parallel()
	var measured []string
	for _, s := range newBench(t).peerStages() {
		for _, step := range s.steps {
			measured = append(measured, step.keys...)
		}
	}
	for _, key := range pairKeys() {
		if !slices.Contains(measured, key) {
			t.Errorf("no step measures %s", key)
		}
	}
}

func TestAhead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stark, peer figure
		want        float64
	}{
		{figure{Value: 20, Unit: "ms"}, figure{Value: 200, Unit: "ms"}, 10},
		{figure{Value: 200, Unit: "MiB"}, figure{Value: 100, Unit: "MiB"}, 0.5},
		{figure{Value: 8000, Unit: "pods/s"}, figure{Value: 400, Unit: "pods/s"}, 20},
	} {
		if got := ahead(c.stark, c.peer); got != c.want {
			t.Errorf("%v beside %v: got %v, want %v", c.stark, c.peer, got, c.want)
		}
	}
}

func TestARunWithoutARowIsRefused(t *testing.T) {
	t.Parallel()
	for names, want := range map[string][]string{
		"nonsense":           {"there is no row nonsense", "nothing to measure", "deploy.running"},
		"pm2.start,nonsense": {"pm2.start is measured by `make bench-peers` alone", "nothing to measure"},
	} {
		var said strings.Builder
		err := run(t.Context(), []string{"-only", names}, io.Discard, &said)
		if err == nil {
			t.Fatalf("-only %s: no error", names)
		}
		for _, text := range want {
			if !strings.Contains(said.String()+err.Error(), text) {
				t.Errorf("-only %s: %q is missing in %s%v", names, text, said.String(), err)
			}
		}
	}
}
