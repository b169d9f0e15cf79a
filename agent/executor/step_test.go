package executor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
)

// stub is a controller of function fields; a missing one succeeds.
type stub struct {
	prepare, start func(context.Context) error
	wait           func(context.Context) (api.Termination, error)
}

func (s stub) Prepare(ctx context.Context) error { return call(ctx, s.prepare) }
func (s stub) Start(ctx context.Context) error   { return call(ctx, s.start) }
func (s stub) Shutdown(context.Context) error    { return nil }
func (s stub) Remove(context.Context) error      { return nil }
func (s stub) Wait(ctx context.Context) (api.Termination, error) {
	if s.wait == nil {
		return api.Termination{Reason: api.ReasonCompleted}, nil
	}
	return s.wait(ctx)
}

func call(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

func fails(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

func TestStep(t *testing.T) {
	t.Parallel()
	unavailable := fmt.Errorf("prepare: %w", &executor.RunError{Reason: api.ReasonBundleUnavailable, Message: "gone"})
	for _, tc := range []struct {
		name     string
		from, to api.RunStatus
		c        stub
		reason   string
	}{
		{"prepares", api.RunAssigned, api.RunStarting, stub{}, ""},
		{"has no bundle", api.RunAssigned, api.RunExited, stub{prepare: fails(unavailable)}, api.ReasonBundleUnavailable},
		{"starts", api.RunStarting, api.RunRunning, stub{}, ""},
		{"cannot start", api.RunStarting, api.RunExited, stub{start: fails(errors.New("no node"))}, api.ReasonError},
		{"ends at its start", api.RunStarting, api.RunExited, stub{start: fails(executor.ErrEnded)}, api.ReasonCompleted},
		{"ends", api.RunRunning, api.RunExited, stub{}, api.ReasonCompleted},
		{"ends in its stop", api.RunStopping, api.RunExited, stub{}, api.ReasonCompleted},
		{"has ended", api.RunExited, api.RunExited, stub{}, ""},
		{"is lost", api.RunLost, api.RunLost, stub{}, ""},
	} {
		got, err := executor.Step(t.Context(), api.Run{Status: tc.from}, tc.c)
		if err != nil || got.Status != tc.to {
			t.Errorf("%s: got %s, %v, want %s", tc.name, got.Status, err, tc.to)
		}
		if reason := reasonOf(got); reason != tc.reason {
			t.Errorf("%s: reason %q, want %q", tc.name, reason, tc.reason)
		}
	}
}

func reasonOf(r api.Run) string {
	if r.Termination == nil {
		return ""
	}
	return r.Termination.Reason
}

func TestStepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := stub{wait: func(ctx context.Context) (api.Termination, error) { return api.Termination{}, ctx.Err() }}
	got, err := executor.Step(ctx, api.Run{Status: api.RunRunning}, c)
	if !errors.Is(err, context.Canceled) || got.Status != api.RunRunning {
		t.Errorf("got %s, %v", got.Status, err)
	}
}
