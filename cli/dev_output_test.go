package cli

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging"
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

// Whoever waits is told why, not at once and not again and again.
func TestWaitingIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		w := newWaiting(&devOutput{stdout: &b})
		pending := api.Pod{PackName: "hello", PackVersion: "1.0.0", Status: api.PodPending, Reason: "Unschedulable", StatusMessage: "1 Insufficient cpu"}
		w.tell(pending)
		if b.Len() > 0 {
			t.Errorf("at once: %q", b.String())
		}
		time.Sleep(waitQuietly)
		for range 3 {
			w.tell(pending)
		}
		if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "hello 1.0.0 is pending (Unschedulable): 1 Insufficient cpu") {
			t.Errorf("got %q, want one line with the reason", got)
		}
		b.Reset()
		w.tell(api.Pod{PackName: "hello", PackVersion: "1.0.0", Status: api.PodStarting})
		if got := b.String(); !strings.Contains(got, "is starting: the pack still loads") {
			t.Errorf("got %q, want what it does now", got)
		}
	})
}

func TestWaitingIsToldAsJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		w := newWaiting(&devOutput{stdout: &b, json: true})
		time.Sleep(waitQuietly)
		w.tell(api.Pod{ID: "p1", PackName: "hello", PackVersion: "1.0.0", Status: api.PodScheduled})
		if got := b.String(); !strings.Contains(got, `"step":"wait"`) || !strings.Contains(got, `"pod":"p1"`) || !strings.Contains(got, "is scheduled") {
			t.Errorf("got %q", got)
		}
	})
}

// What has ended a warning is shown like the warning; other news are not.
func TestRecoveryIsShown(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := slog.New(notice{out: &devOutput{stderr: &b}}).With(slog.String("part", "supabase"))
	log.Info("of no interest")
	log.Info("postgres runs again", slog.Bool(logging.KeyRecovered, true))
	if got := b.String(); got != "  info: supabase: postgres runs again\n" {
		t.Errorf("got %q", got)
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
