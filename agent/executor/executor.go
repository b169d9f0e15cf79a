package executor

import (
	"context"
	"errors"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// ErrEnded is returned by Controller.Start when the run ended before its pack was
// ready; Wait tells how.
var ErrEnded = errors.New("the run ended before it was ready")

// Task is all that an executor needs to know of one run.
type Task struct {
	Key    api.RunKey
	NodeID string
	Spec   wire.PodSpec
	// Bundle asks the control plane where to fetch the bundle. It may block for as
	// long as the node is not connected; executors call it only when the bundle is
	// not in their cache, and never write the URL to a log.
	Bundle func(ctx context.Context) (wire.BundleURLAck, error)
	// Output takes one line of the run's output. It never blocks and may be called
	// from any goroutine until Remove has returned.
	Output func(line api.LogLine)
}

// Executor makes controllers. Its methods may be called concurrently.
type Executor interface {
	// Controller makes the controller of one run and does nothing else: no file, no
	// process. A task that the executor could never run is refused here.
	Controller(task Task) (Controller, error)
	// Capabilities tells what the runtime can do, for the node's registration.
	Capabilities() api.Capabilities
}

// Controller drives one run through its life. The order of calls is Prepare, Start,
// Wait, Remove, each at most until it has succeeded once; Shutdown may come at any
// time, concurrently with the others, and Remove comes last and always, whatever
// failed before.
//
// Every method ends soon after its context does. Failures of the run itself (not of
// the context) are a *RunError.
type Controller interface {
	// Prepare fetches what the run needs. It is idempotent.
	Prepare(ctx context.Context) error
	// Start hands the pack over and returns when it is ready, or ErrEnded when the
	// run ended before. It is called once: a run never starts twice.
	Start(ctx context.Context) error
	// Wait returns when the run has ended and nothing of it is alive any more. It may
	// be called again and then gives the same answer.
	Wait(ctx context.Context) (api.Termination, error)
	// Shutdown asks the run to end, gives it until ctx's deadline, then kills it, and
	// returns when it has ended. Without a deadline the run has all the time it wants.
	// It is idempotent; on a run that has ended it does nothing, and one that has not
	// begun never will: its Start gives ErrEnded and its Wait a termination.
	Shutdown(ctx context.Context) error
	// Remove kills what is left and gives back every resource. It is idempotent.
	Remove(ctx context.Context) error
}

// Sampler is an Executor that has live figures. Usage does not block, and counts from
// its last call.
type Sampler interface {
	Usage() api.NodeUsage
}

// RunError is a run's own failure, as opposed to the executor's.
type RunError struct {
	Reason  string // one of api's reasons
	Message string
}

// Error tells reason and message.
func (f *RunError) Error() string { return f.Reason + ": " + f.Message }
