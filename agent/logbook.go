package agent

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stark-orchestrator/stark/shared/wire"
)

// logbook keeps the output of the pods that run here and of the last that did, within a
// budget of bytes for all of them. What has ended goes first, the oldest before the
// others; then those that still write share what there is.
type logbook struct {
	limit  int   // bytes of one ring
	budget int64 // bytes of all rings
	used   atomic.Int64

	mu    sync.Mutex
	rings map[wire.PodRef]*ring
	ended []*ring // those that are closed, oldest first
}

func newLogbook(limit int, budget int64) *logbook {
	return &logbook{limit: limit, budget: budget, rings: map[wire.PodRef]*ring{}}
}

// open gives the ring of a pod in one incarnation.
func (b *logbook) open(ref wire.PodRef) *ring {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.rings[ref]; r != nil {
		r.reopen()
		b.ended = slices.DeleteFunc(b.ended, func(e *ring) bool { return e == r })
		return r
	}
	r := newRing(ref, b)
	b.rings[ref] = r
	return r
}

// find gives the ring of a pod in an incarnation, and the newest one for incarnation 0;
// older is the one before it, as far as it is kept.
func (b *logbook) find(podID string, incarnation int) (r, older *ring) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ref, one := range b.rings {
		if ref.PodID != podID || incarnation > 0 && ref.Incarnation > incarnation {
			continue
		}
		switch {
		case r == nil || ref.Incarnation > r.ref.Incarnation:
			r, older = one, r
		case older == nil || ref.Incarnation > older.ref.Incarnation:
			older = one
		}
	}
	if r != nil && incarnation > 0 && r.ref.Incarnation != incarnation {
		return nil, r
	}
	return r, older
}

// close marks a pod's output as complete: it may be let go of from now on.
func (b *logbook) close(r *ring) {
	r.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rings[r.ref] == r && !slices.Contains(b.ended, r) {
		b.ended = append(b.ended, r)
	}
	b.shrink()
}

// add counts what a ring has taken in, or let go of where bytes is negative.
func (b *logbook) add(bytes int) {
	if b.used.Add(int64(bytes)) <= b.budget || bytes <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shrink()
}

// shrink brings the rings back within the budget. The caller holds mu and no ring's lock.
func (b *logbook) shrink() {
	for b.used.Load() > b.budget && len(b.ended) > 0 {
		r := b.ended[0]
		b.ended = slices.Delete(b.ended, 0, 1)
		delete(b.rings, r.ref)
		b.used.Add(-int64(r.retire()))
	}
	if b.used.Load() <= b.budget || len(b.rings) == 0 {
		return
	}
	// Nine tenths, so that the next line does not come here again.
	share := int(b.budget*9/10) / len(b.rings)
	for _, r := range b.rings {
		b.used.Add(-int64(r.trim(share)))
	}
}

// all lists the rings.
func (b *logbook) all() []*ring {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]*ring, 0, len(b.rings))
	for _, r := range b.rings {
		list = append(list, r)
	}
	return list
}
