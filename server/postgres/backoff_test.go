package postgres_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// A pod that never comes up must say so as one does that came up and fell: its history
// names what ended each attempt, and its events warn.
func TestAPodThatEndsBeforeItWasReadyWarnsOncePerAttempt(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	for attempt := range 2 {
		b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(attempt + 1), Status: api.RunStarting})
		for range 2 { // told twice, it is one event
			b.report(t, b.node.ID, wire.RunReport{
				RunKey: b.key(attempt + 1), Status: api.RunExited, Reason: api.ReasonCrashLoopBackOff,
				Message:     fmt.Sprintf("ended with PackLoadError, attempt %d", attempt+1),
				Termination: &api.Termination{Reason: api.ReasonPackLoadError, ExitCode: new(1), Message: "SyntaxError"},
			})
		}
	}
	var got []string
	for _, e := range events(t, b, "", api.EventQuery{ObjectID: b.pod.ID}) {
		if e.Type == api.EventWarning {
			got = append(got, fmt.Sprintf("%d %s %s", e.Attempt, e.Reason, e.Message))
		}
	}
	want := []string{
		"1 CrashLoopBackOff ended with PackLoadError, attempt 1",
		"2 CrashLoopBackOff ended with PackLoadError, attempt 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got the warnings %q, want %q", got, want)
	}
}
