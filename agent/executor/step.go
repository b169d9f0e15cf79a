package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Step makes one move, and only forward: assigned to starting by Prepare, starting
// to running by Start, running or stopping to exited by Wait. A failure of the run
// is a move too, to exited with a termination. Step returns an error only when ctx
// ended first; run is then unchanged. A terminal run is returned as it is.
func Step(ctx context.Context, run api.Run, c Controller) (api.Run, error) {
	switch run.Status {
	case api.RunAssigned:
		if err := c.Prepare(ctx); err != nil {
			return fail(ctx, run, err)
		}
		run.Status = api.RunStarting
		return run, nil
	case api.RunStarting:
		err := c.Start(ctx)
		if errors.Is(err, ErrEnded) {
			return wait(ctx, run, c)
		}
		if err != nil {
			return fail(ctx, run, err)
		}
		run.Status = api.RunRunning
		return run, nil
	case api.RunRunning, api.RunStopping:
		return wait(ctx, run, c)
	default:
		return run, nil
	}
}

func wait(ctx context.Context, run api.Run, c Controller) (api.Run, error) {
	t, err := c.Wait(ctx)
	if err != nil {
		return fail(ctx, run, err)
	}
	run.Status, run.Termination = api.RunExited, &t
	return run, nil
}

func fail(ctx context.Context, run api.Run, err error) (api.Run, error) {
	if ctx.Err() != nil {
		return run, fmt.Errorf("step from %s: %w", run.Status, context.Cause(ctx))
	}
	t := api.Termination{Reason: api.ReasonError, Message: err.Error()}
	if f, ok := errors.AsType[*RunError](err); ok {
		t.Reason, t.Message = f.Reason, f.Message
	}
	run.Status, run.Termination = api.RunExited, &t
	return run, nil
}
