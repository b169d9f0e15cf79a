package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	before := []map[string]figure{
		{"stop": {Value: 20, Unit: "ms", P99: 30}, "gone": {Value: 1, Unit: "s"}, "idle": {Unit: "%"}},
		{"stop": {Value: 10, Unit: "ms", P99: 40}, "gone": {Value: 1, Unit: "s"}, "idle": {Unit: "%"}},
		{"stop": {Value: 90, Unit: "ms", P99: 20}, "gone": {Value: 1, Unit: "s"}, "idle": {Unit: "%"}},
	}
	// stop has failed in the first round.
	now := []map[string]figure{{"new": {Value: 3, Unit: "KiB", P99: 5}}, {"stop": {Value: 25, Unit: "ms", P99: 31}, "idle": {Value: 2, Unit: "%"}}}
	var out bytes.Buffer
	if err := compare(&out, "v1", before, now); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"key v1 now ratio p99 before p99 now",
		"gone 1.0 s - only in v1 - -",
		"idle 0.000 % 2.0 % - - -",
		"new - 3.0 KiB only here - 5.0",
		"stop 20.0 ms 25.0 ms 1.25 30.0 31.0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A bench of which a row has failed ends in an error and leaves the others in its file.
func TestMeasureKeepsWhatThereIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":              "module tree\n",
		"Makefile":            "build:\n",
		"tests/bench/main.go": "package main\n\nimport \"os\"\n\nfunc main() {\n\t_ = os.WriteFile(os.Args[2], []byte(`{\"stop\": {\"failed\": \"no node\"}, \"logs\": {\"value\": 2, \"unit\": \"/s\"}}`), 0o600)\n\tos.Exit(1)\n}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	figures, err := measure(t.Context(), io.Discard, dir, filepath.Join(dir, "out.json"), nil)
	if err == nil || len(figures) != 1 || figures["logs"].Value != 2 {
		t.Errorf("got %v, %v", figures, err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-base", "HEAD", "-rounds", "0"}, {"-base", "HEAD", "stop"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "make bench-compare BASE=<rev>") {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := run(t.Context(), []string{"-base", "no-such-revision"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no-such-revision") {
		t.Errorf("an unknown revision: %v", err)
	}
}
