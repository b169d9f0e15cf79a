package simulated

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Executor implements executor.Executor without a runtime: a run becomes ready, stays
// until it is stopped, and ends at once then. Its methods may be called concurrently.
type Executor struct {
	StartLatency time.Duration // until a run is ready; each takes between a half and one and a half of it
	LogEvery     time.Duration // between two lines of output of a run; never where 0

	started, ended atomic.Int64
}

// Started gives how many runs have become ready so far.
func (e *Executor) Started() int64 { return e.started.Load() }

// Live gives how many runs are ready now.
func (e *Executor) Live() int64 { return e.started.Load() - e.ended.Load() }

// Controller implements executor.Executor.
func (e *Executor) Controller(t executor.Task) (executor.Controller, error) {
	return &run{executor: e, task: t, over: make(chan struct{})}, nil
}

// Capabilities implements executor.Executor.
func (e *Executor) Capabilities() api.Capabilities { return api.Capabilities{Version: "simulated"} }

// run is one run; over is closed when it has ended, and result is valid from then on.
type run struct {
	executor *Executor
	task     executor.Task

	mu     sync.Mutex
	ready  bool
	ended  bool
	over   chan struct{}
	result api.Termination
}

func (r *run) Prepare(ctx context.Context) error { return ctx.Err() }

func (r *run) Start(ctx context.Context) error {
	if d := r.executor.StartLatency; d > 0 {
		timer := time.NewTimer(d/2 + rand.N(d)) //nolint:gosec // how long a start takes is no secret
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.over:
			return executor.ErrEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return executor.ErrEnded
	}
	r.ready = true
	r.executor.started.Add(1)
	if r.executor.LogEvery > 0 {
		go r.speak(r.executor.LogEvery)
	}
	return nil
}

// speak writes lines until the run is over.
func (r *run) speak(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.task.Output(api.LogLine{Time: time.Now().UTC(), Stream: "log", Line: "tick of a simulated run"})
		case <-r.over:
			return
		}
	}
}

func (r *run) Wait(ctx context.Context) (api.Termination, error) {
	select {
	case <-r.over:
		return r.result, nil
	case <-ctx.Done():
		return api.Termination{}, context.Cause(ctx)
	}
}

func (r *run) Shutdown(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil
	}
	r.ended = true
	r.result = api.Termination{Reason: api.ReasonStopped, Attempt: r.task.Key.Attempt, FinishedAt: time.Now().UTC()}
	if r.ready {
		r.executor.ended.Add(1)
	}
	close(r.over)
	return nil
}

func (r *run) Remove(ctx context.Context) error { return r.Shutdown(ctx) }
