package executortest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Fake is an executor without a runtime: a run behaves as its pack's name says, or
// serves when the name is none of the behaviours. Its methods may be called
// concurrently.
type Fake struct {
	mu     sync.Mutex
	starts []api.RunKey
	live   map[api.RunKey]*fakeRun
}

// Controller implements executor.Executor.
func (f *Fake) Controller(t executor.Task) (executor.Controller, error) {
	return &fakeRun{fake: f, task: t, ended: make(chan struct{})}, nil
}

// Capabilities implements executor.Executor.
func (f *Fake) Capabilities() api.Capabilities { return api.Capabilities{Version: "fake"} }

// Starts lists the keys that were started, in order.
func (f *Fake) Starts() []api.RunKey {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]api.RunKey(nil), f.starts...)
}

// Live counts the runs that are alive.
func (f *Fake) Live() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.live)
}

func (f *Fake) note(r *fakeRun) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.starts = append(f.starts, r.task.Key)
	if f.live == nil {
		f.live = map[api.RunKey]*fakeRun{}
	}
	f.live[r.task.Key] = r
}

func (f *Fake) drop(r *fakeRun) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.live, r.task.Key)
}

type fakeRun struct {
	fake     *Fake
	task     executor.Task
	stopOnce sync.Once
	endOnce  sync.Once
	ended    chan struct{}
	result   api.Termination

	mu      sync.Mutex
	started bool
	stopped bool
}

func (r *fakeRun) Prepare(context.Context) error { return nil }

func (r *fakeRun) Start(ctx context.Context) error {
	r.mu.Lock()
	if r.stopped {
		r.mu.Unlock()
		return executor.ErrEnded
	}
	r.started = true
	r.fake.note(r)
	r.mu.Unlock()
	switch Behaviour(r.task.Spec.Name) {
	case Returns:
		r.task.Output(api.LogLine{Time: time.Now(), Stream: "log", Line: "hello"})
		r.end(api.Termination{Reason: api.ReasonCompleted})
		return executor.ErrEnded
	case ThrowsEarly:
		r.end(api.Termination{Reason: api.ReasonPackLoadError, Message: "Error: broken"})
		return executor.ErrEnded
	case Throws:
		r.end(api.Termination{Reason: api.ReasonError, Message: "Error: boom"})
		return nil
	default:
		return ctx.Err()
	}
}

func (r *fakeRun) Wait(ctx context.Context) (api.Termination, error) {
	select {
	case <-r.ended:
		return r.result, nil
	case <-ctx.Done():
		return api.Termination{}, context.Cause(ctx)
	}
}

func (r *fakeRun) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	r.stopped = true
	started := r.started
	r.mu.Unlock()
	if started && Behaviour(r.task.Spec.Name) == IgnoresStop {
		select {
		case <-ctx.Done():
		case <-r.ended:
		}
		r.end(api.Termination{Reason: api.ReasonStopped, Message: "killed"})
		return nil
	}
	if started && Behaviour(r.task.Spec.Name) == Handles {
		r.stopOnce.Do(func() { r.task.Output(api.LogLine{Time: time.Now(), Stream: "log", Line: "bye"}) })
	}
	r.end(api.Termination{Reason: api.ReasonStopped})
	return nil
}

func (r *fakeRun) Remove(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	cancel(errors.New("removed"))
	return r.Shutdown(ctx)
}

func (r *fakeRun) end(t api.Termination) {
	r.endOnce.Do(func() {
		t.Attempt, t.FinishedAt = r.task.Key.Attempt, time.Now().UTC()
		r.result = t
		r.fake.drop(r)
		close(r.ended)
	})
}
