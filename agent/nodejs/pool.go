//go:build unix

package nodejs

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	maxPoolBackoff = 30 * time.Second
	// poolQuiet is how long no pod must have been started before the pool is refilled: a
	// process that starts takes a core from the one that a user waits for.
	poolQuiet = 100 * time.Millisecond
	// poolLate is how long starts can put that off: some never end, and some never cease.
	poolLate = time.Second
)

// pool keeps warm hosts. It makes them for the memory limit that was asked for last,
// and waits with that while pods are being started.
type pool struct {
	e     *Executor
	size  int
	slots chan struct{} // processes starting at once: more would only delay each other
	wake  chan struct{}
	ended chan struct{}

	mu       sync.Mutex
	idle     []*host
	heap     int
	starting int
	started  time.Time     // when the last start came to its end
	short    time.Time     // since when a host is missing; zero when none is
	changed  chan struct{} // not nil while somebody waits for a full pool
}

func newPool(e *Executor, size, heap int) *pool {
	return &pool{
		e: e, size: size, heap: heap, slots: make(chan struct{}, max(2, runtime.NumCPU())),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

func (p *pool) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pool) wait() { <-p.ended }

// begin and finish frame a pod's start; the pool is refilled outside of them.
func (p *pool) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting++
}

func (p *pool) finish() {
	p.mu.Lock()
	p.starting--
	p.started = time.Now()
	p.mu.Unlock()
	p.poke()
}

// take gives a warm host if there is one, else a new one when it is warm.
func (p *pool) take(ctx context.Context, heap int) (*host, error) {
	p.mu.Lock()
	p.heap = heap
	for len(p.idle) > 0 {
		h := p.idle[0]
		p.idle = p.idle[1:]
		if !h.isDead() {
			p.mu.Unlock()
			return h, nil
		}
	}
	p.mu.Unlock()
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-p.slots }()
	return p.make(ctx, heap)
}

func (p *pool) make(ctx context.Context, heap int) (*host, error) {
	h, err := p.e.spawn(heap)
	if err != nil {
		return nil, err
	}
	if err := h.awaitWarm(ctx); err != nil {
		h.kill("", "")
		return nil, err
	}
	return h, nil
}

// run refills until ctx ends.
func (p *pool) run(ctx context.Context) {
	defer close(p.ended)
	backoff := time.Duration(0)
	p.poke()
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		for {
			heap, missing, quiet := p.missing()
			if !missing || ctx.Err() != nil {
				break
			}
			if quiet > 0 {
				select {
				case <-time.After(quiet):
				case <-p.wake:
				case <-ctx.Done():
					return
				}
				continue
			}
			h, err := p.make(ctx, heap)
			if err != nil {
				if ctx.Err() != nil {
					return
				}
				backoff = min(max(2*backoff, time.Second), maxPoolBackoff)
				p.e.log.WarnContext(ctx, "the warm pool cannot be filled", slog.Any("error", err))
				select {
				case <-time.After(backoff):
				case <-ctx.Done():
					return
				}
				continue
			}
			backoff = 0
			p.mu.Lock()
			p.idle, p.short = append(p.idle, h), time.Time{}
			if p.changed != nil {
				close(p.changed)
				p.changed = nil
			}
			p.mu.Unlock()
		}
	}
}

// missing drops dead hosts, and says whether one is to be made, for which limit, and
// how long to wait with that unless a start ends before.
func (p *pool) missing() (heap int, missing bool, quiet time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(h *host) bool { return h.isDead() })
	if len(p.idle) >= p.size {
		p.short = time.Time{}
		return p.heap, false, 0
	}
	if p.short.IsZero() {
		p.short = time.Now()
	}
	late := poolLate - time.Since(p.short)
	if p.starting > 0 {
		return p.heap, true, late
	}
	return p.heap, true, min(late, poolQuiet-time.Since(p.started))
}

// full tells whether n hosts wait, and gives a channel that closes at the next change.
func (p *pool) full(n int) (bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return len(p.idle) >= n, p.changed
}
