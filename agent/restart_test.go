package agent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// life is how long a run prepares, and how long it is ready then.
type life struct{ prepares, lives time.Duration }

// mortal is an executor whose runs live as long as its list says, and writes down
// when each began and ended.
type mortal struct {
	noExecutor

	lives       []life
	began, died []time.Time
	done        context.CancelFunc // called when the list is at its end
}

func (m *mortal) Controller(executor.Task) (executor.Controller, error) {
	m.began = append(m.began, time.Now())
	if len(m.began) > len(m.lives) {
		m.done()
		return nil, errors.New("no further life")
	}
	return &mortalRun{m: m, life: m.lives[len(m.began)-1]}, nil
}

type mortalRun struct {
	m    *mortal
	life life
}

func (r *mortalRun) Prepare(ctx context.Context) error { return r.sleep(ctx, r.life.prepares) }
func (r *mortalRun) Start(context.Context) error       { return nil }
func (r *mortalRun) Shutdown(context.Context) error    { return nil }
func (r *mortalRun) Remove(context.Context) error      { return nil }

func (r *mortalRun) Wait(ctx context.Context) (api.Termination, error) {
	err := r.sleep(ctx, r.life.lives)
	r.m.died = append(r.m.died, time.Now())
	return api.Termination{Reason: api.ReasonError}, err
}

func (r *mortalRun) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Only a run that was ready for ten minutes makes the back-off begin anew; neither one
// that was nearly, nor one that took long to get ready.
func TestHealthResetsTheBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := &mortal{done: cancel, lives: []life{
			{0, time.Second},
			{0, time.Second},
			{0, 10*time.Minute - time.Second},
			{11 * time.Minute, time.Second},
			{0, 10 * time.Minute},
			{0, time.Second},
		}}
		a, err := New(Config{URL: "http://x", Name: "n", Executor: m, State: memory{}, Dialer: &nowhere{err: errors.New("no route")}, Logger: loggingtest.New(t).Logger})
		if err != nil {
			t.Fatal(err)
		}
		p := newPod(a, wire.PodRef{PodID: "p", Incarnation: 1}, wire.Assignment{PodID: "p", Incarnation: 1, Pod: wire.PodSpec{RestartPolicy: api.RestartAlways}})
		p.run(ctx)
		var waits []time.Duration
		for i, died := range m.died {
			waits = append(waits, m.began[i+1].Sub(died))
		}
		want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, time.Second, 2 * time.Second}
		if !slices.Equal(waits, want) {
			t.Errorf("waited %v, want %v", waits, want)
		}
	})
}
