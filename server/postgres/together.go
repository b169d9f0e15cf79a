package postgres

import (
	"context"
	"sync"
	"sync/atomic"
)

// together lets calls of one kind share a statement: what comes while as many run as may
// waits, and the next one takes all of it, up to most. When a server has been away
// thousands of nodes come back at the same moment, each with the same few questions.
type together[C any] struct {
	most  int                         // calls that share a statement
	each  int                         // statements at a time: one more works while the last one commits
	serve func(context.Context, []*C) // answers each of them; it leaves out nobody

	mu      sync.Mutex
	waiting []*turn[C] // guarded by mu
	running int        // guarded by mu
	wg      sync.WaitGroup
}

// turn is one call that waits.
type turn[C any] struct {
	call    *C
	givenUp atomic.Bool
	done    chan struct{}
}

// do has a call served and waits for it. After an error, which is that of ctx, whoever
// serves may still write to the call: it must not be read.
func (t *together[C]) do(ctx context.Context, call *C) error {
	w := &turn[C]{call: call, done: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	if t.running < t.each {
		t.running++
		// One caller's end must not fail its neighbours.
		ctx := context.WithoutCancel(ctx)
		t.wg.Go(func() { t.run(ctx) })
	}
	t.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		w.givenUp.Store(true)
		return ctx.Err()
	}
}

// run serves until nobody waits.
func (t *together[C]) run(ctx context.Context) {
	for group := t.next(); group != nil; group = t.next() {
		calls := make([]*C, 0, len(group))
		for _, w := range group {
			if !w.givenUp.Load() {
				calls = append(calls, w.call)
			}
		}
		if len(calls) > 0 {
			t.serve(ctx, calls)
		}
		for _, w := range group {
			close(w.done)
		}
	}
}

// next gives those whose turn it is; nil frees the place.
func (t *together[C]) next() []*turn[C] {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.waiting), t.most)
	if n == 0 {
		t.waiting = nil
		t.running--
		return nil
	}
	group := t.waiting[:n:n]
	t.waiting = t.waiting[n:]
	return group
}

// queued is how many wait for their turn.
func (t *together[C]) queued() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}
