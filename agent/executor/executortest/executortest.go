// Package executortest holds the conformance suite that every implementation of
// executor.Executor passes, the packs it is made of, and a fake for tests of the
// agent that need no runtime.
package executortest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Behaviour names a pack of the suite.
type Behaviour string

// The behaviours.
const (
	Returns     Behaviour = "returns"      // prints "hello" and returns
	Serves      Behaviour = "serves"       // is ready, and ends when the signal is aborted
	Handles     Behaviour = "handles"      // is ready; its stop handler prints "bye"
	Throws      Behaviour = "throws"       // is ready, then throws "boom"
	ThrowsEarly Behaviour = "throws-early" // throws "broken" while it is loaded
	IgnoresStop Behaviour = "ignores-stop" // is ready and never ends by itself
)

// Sources are the packs as CommonJS.
var Sources = map[Behaviour]string{
	Returns:     `module.exports = ({ log }) => { log.info('hello') }`,
	Serves:      `module.exports = async ({ signal, ready }) => { ready(); await new Promise((r) => signal.addEventListener('abort', r)) }`,
	Handles:     `module.exports = async ({ onStop, log }) => { onStop(async () => { log.info('bye') }); await new Promise(() => {}) }`,
	Throws:      `module.exports = async ({ ready }) => { ready(); await new Promise((r) => setTimeout(r, 20)); throw new Error('boom') }`,
	ThrowsEarly: `throw new Error('broken')`,
	IgnoresStop: `module.exports = async ({ ready, onStop }) => { ready(); onStop(() => new Promise(() => {})); await new Promise(() => {}) }`,
}

// Lines collects output.
type Lines struct {
	mu    sync.Mutex
	lines []api.LogLine
}

// Add is an executor.Task's Output.
func (l *Lines) Add(line api.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// Text joins the lines.
func (l *Lines) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, line := range l.lines {
		b.WriteString(line.Line + "\n")
	}
	return b.String()
}

// Harness makes tasks for the executor under test.
type Harness struct {
	Executor executor.Executor
	// Task makes a fresh task that runs the behaviour and prints into lines.
	Task func(t *testing.T, b Behaviour, lines *Lines) executor.Task
}

const patience = 2 * time.Minute

// Run is the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, tc := range []struct {
		behaviour                Behaviour
		ready                    bool
		reason, message, printed string
	}{
		{Returns, false, api.ReasonCompleted, "", "hello"},
		{Throws, true, api.ReasonError, "boom", ""},
		{ThrowsEarly, false, api.ReasonPackLoadError, "broken", ""},
	} {
		t.Run(string(tc.behaviour), func(t *testing.T) {
			t.Parallel()
			ctx, c, lines := begin(t, h, tc.behaviour)
			if err := c.Start(ctx); tc.ready && err != nil || !tc.ready && !errors.Is(err, executor.ErrEnded) {
				t.Errorf("start: got %v, want ready=%v", err, tc.ready)
			}
			wantEnd(t, c, tc.reason, tc.message)
			if !strings.Contains(lines.Text(), tc.printed) {
				t.Errorf("output: got %q, want %q in it", lines.Text(), tc.printed)
			}
		})
	}
	t.Run("stops by its signal", func(t *testing.T) { t.Parallel(); stops(t, h, Serves, "") })
	t.Run("runs its stop handler", func(t *testing.T) { t.Parallel(); stops(t, h, Handles, "bye") })
	t.Run("is killed after its grace", func(t *testing.T) { t.Parallel(); isKilled(t, h) })
	t.Run("never begins after a stop", func(t *testing.T) { t.Parallel(); neverBegins(t, h) })
	t.Run("is removed while it runs", func(t *testing.T) { t.Parallel(); isRemoved(t, h) })
	t.Run("start ends with its context", func(t *testing.T) { t.Parallel(); waitEndsWithContext(t, h) })
	t.Run("step moves forward", func(t *testing.T) { t.Parallel(); steps(t, h) })
}

func begin(t *testing.T, h Harness, b Behaviour) (context.Context, executor.Controller, *Lines) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	lines := &Lines{}
	c, err := h.Executor.Controller(h.Task(t, b, lines))
	if err != nil {
		t.Fatalf("controller: %v", err)
	}
	t.Cleanup(func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := c.Remove(clean); err != nil {
			t.Errorf("remove: %v", err)
		}
	})
	for range 2 { // it is idempotent
		if err := c.Prepare(ctx); err != nil {
			t.Fatalf("prepare: %v", err)
		}
	}
	return ctx, c, lines
}

func wantEnd(t *testing.T, c executor.Controller, reason, message string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 2 { // the answer stays the same
		got, err := c.Wait(ctx)
		if err != nil {
			t.Fatalf("wait: %v", err)
		}
		if got.Reason != reason || !strings.Contains(got.Message, message) {
			t.Errorf("ended with %q %q, want %q and %q in the message", got.Reason, got.Message, reason, message)
		}
		if got.FinishedAt.IsZero() {
			t.Error("the termination has no time")
		}
	}
}

func stops(t *testing.T, h Harness, b Behaviour, printed string) {
	t.Helper()
	ctx, c, lines := begin(t, h, b)
	if err := c.Start(ctx); err != nil {
		t.Fatalf("start: %v", err)
	}
	for range 2 {
		if err := c.Shutdown(ctx); err != nil {
			t.Fatalf("shutdown: %v", err)
		}
	}
	wantEnd(t, c, api.ReasonStopped, "")
	if !strings.Contains(lines.Text(), printed) {
		t.Errorf("output: got %q, want %q in it", lines.Text(), printed)
	}
}

func isKilled(t *testing.T, h Harness) {
	t.Helper()
	ctx, c, _ := begin(t, h, IgnoresStop)
	if err := c.Start(ctx); err != nil {
		t.Fatalf("start: %v", err)
	}
	grace, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := c.Shutdown(grace); err != nil {
		t.Fatalf("shutdown: %v", err)
	}
	wantEnd(t, c, api.ReasonStopped, "killed")
}

func neverBegins(t *testing.T, h Harness) {
	t.Helper()
	ctx, c, _ := begin(t, h, Serves)
	if err := c.Shutdown(ctx); err != nil {
		t.Fatalf("shutdown: %v", err)
	}
	if err := c.Start(ctx); !errors.Is(err, executor.ErrEnded) {
		t.Errorf("start: got %v, want ErrEnded", err)
	}
	wantEnd(t, c, api.ReasonStopped, "")
}

func isRemoved(t *testing.T, h Harness) {
	t.Helper()
	ctx, c, _ := begin(t, h, Serves)
	if err := c.Start(ctx); err != nil {
		t.Fatalf("start: %v", err)
	}
	for range 2 {
		if err := c.Remove(ctx); err != nil {
			t.Fatalf("remove: %v", err)
		}
	}
	wantEnd(t, c, api.ReasonStopped, "")
}

func waitEndsWithContext(t *testing.T, h Harness) {
	t.Helper()
	ctx, c, _ := begin(t, h, Serves)
	if err := c.Start(ctx); err != nil {
		t.Fatalf("start: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Wait(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: got %v, want %v", err, context.Canceled)
	}
}

func steps(t *testing.T, h Harness) {
	t.Helper()
	ctx, c, _ := begin(t, h, Throws)
	run := api.Run{Status: api.RunAssigned}
	var seen []api.RunStatus
	for run.Status != api.RunExited {
		next, err := executor.Step(ctx, run, c)
		if err != nil {
			t.Fatalf("step from %s: %v", run.Status, err)
		}
		run = next
		seen = append(seen, run.Status)
	}
	if len(seen) != 3 || seen[0] != api.RunStarting || seen[1] != api.RunRunning || run.Termination.Reason != api.ReasonError {
		t.Errorf("got %v ending with %+v", seen, run.Termination)
	}
}
