package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestStepsFitTheTerminal(t *testing.T) {
	t.Parallel()
	message := "hello 1.0.0  runs on: node, browser  566 B  sha256 339a6a8a70d6"
	for _, width := range []int{20, 60, 80, 82, 200, 0} {
		var b bytes.Buffer
		o := &devOutput{stdout: &b, width: func() int { return width }}
		o.step("pack", message, 26*time.Millisecond, nil)
		got := strings.TrimSuffix(b.String(), "\n")
		if width >= 40 && len(got) > width {
			t.Errorf("width %d: %d columns: %q", width, len(got), got)
		}
		if !strings.HasSuffix(got, " 26ms") || !strings.Contains(got, "[ok] pack       hello") {
			t.Errorf("width %d: %q", width, got)
		}
		if whole := strings.Contains(got, message); whole != (width == 0 || width > 85) {
			t.Errorf("width %d: whole message %v: %q", width, whole, got)
		}
	}
}

func TestLongLastOutputIsCut(t *testing.T) {
	t.Parallel()
	output := strings.Repeat("early\n", 30) + strings.Repeat("late\n", shownLines)
	var b bytes.Buffer
	describeTermination(&b, api.Pod{ID: "p1", LastTermination: &api.Termination{LastOutput: output}})
	got := b.String()
	if strings.Contains(got, "early") || strings.Count(got, "late") != shownLines || !strings.Contains(got, "30 lines before: see `stark pod logs p1`") {
		t.Errorf("got:\n%s", got)
	}
	b.Reset()
	describeTermination(&b, api.Pod{ID: "p1", LastTermination: &api.Termination{LastOutput: "one\ntwo\n"}})
	if got := b.String(); !strings.Contains(got, "last output:\n  one\n  two\n") || strings.Contains(got, "stark pod logs") {
		t.Errorf("got:\n%s", got)
	}
}
