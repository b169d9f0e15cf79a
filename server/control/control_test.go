package control_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/control"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

type fake struct {
	lead    func(ctx context.Context, fn func(ctx context.Context) error) error
	sweep   func() (int, error)
	overdue func(pods []api.Pod) ([]string, error)
	sweeps  atomic.Int32
	tends   atomic.Int32
	compact atomic.Int32
	binds   atomic.Int32
}

func (f *fake) Lead(ctx context.Context, fn func(ctx context.Context) error) error {
	return f.lead(ctx, fn)
}

func (f *fake) Sweep(context.Context) (int, error) {
	f.sweeps.Add(1)
	return f.sweep()
}

func (f *fake) Tend(context.Context) (int, error) {
	f.tends.Add(1)
	return 1, nil
}

func (f *fake) TellOverdueStops(_ context.Context, pods []api.Pod) ([]string, error) {
	return f.overdue(pods)
}

func (f *fake) Compact(context.Context) error {
	f.compact.Add(1)
	return errors.New("busy")
}

func (f *fake) Bind(context.Context, []scheduler.Decision) ([]scheduler.Decision, error) {
	f.binds.Add(1)
	return nil, nil
}

func forEver(ctx context.Context, fn func(ctx context.Context) error) error { return fn(ctx) }

func run(t *testing.T, f *fake) *store.Store {
	t.Helper()
	st := store.New()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- control.Run(ctx, control.Deps{
			Leader: f, Binder: f, Upkeep: f, Store: st, Now: time.Now, Logger: loggingtest.New(t).Logger,
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v, want context.Canceled", err)
		}
	})
	return st
}

func TestSweepGivesNodesTimeToBeHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		f := &fake{lead: forEver, sweep: func() (int, error) {
			if fail.Load() {
				return 0, errors.New("no database")
			}
			return 1, nil
		}}
		st := run(t, f)
		<-time.After(time.Minute)
		if n := f.sweeps.Load(); n != 0 {
			t.Fatalf("got %d sweeps before the read model is there, want none", n)
		}
		st.Apply(store.Batch{Reset: true})
		<-time.After(10 * time.Second)
		if n := f.sweeps.Load(); n < 8 || n > 10 {
			t.Fatalf("got %d sweeps in 10 s, want one a second", n)
		}
		fail.Store(true)
		<-time.After(20 * time.Second)
		before := f.sweeps.Load()
		fail.Store(false)
		<-time.After(5 * time.Second)
		if n := f.sweeps.Load(); n != before {
			t.Errorf("got %d sweeps right after a failure, want none", n-before)
		}
		if f.compact.Load() == 0 {
			t.Error("upkeep did not run")
		}
	})
}

func TestSweepWaitsWhileTheReadModelIsStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{lead: forEver, sweep: func() (int, error) { return 0, nil }}
		st := run(t, f)
		st.Apply(store.Batch{Reset: true})
		st.SetStale(true)
		<-time.After(5 * time.Minute)
		if n := f.sweeps.Load(); n != 0 {
			t.Errorf("got %d sweeps, want none", n)
		}
	})
}

func TestTheSchedulerRunsOnlyWhileLeading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		elected := make(chan struct{})
		f := &fake{sweep: func() (int, error) { return 0, nil }, lead: func(ctx context.Context, fn func(context.Context) error) error {
			select {
			case <-elected:
				return fn(ctx)
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		st := run(t, f)
		st.Apply(store.Batch{Reset: true, Pods: store.Changes[api.Pod]{Put: []api.Pod{{ID: "p", Status: api.PodPending}}}})
		synctest.Wait()
		if f.binds.Load() != 0 {
			t.Fatal("a server that does not lead has bound pods")
		}
		close(elected)
		synctest.Wait()
		if f.binds.Load() != 1 {
			t.Errorf("got %d binds after the election, want 1", f.binds.Load())
		}
	})
}
