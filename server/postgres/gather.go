package postgres

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	// maxReads bounds how many reads share a statement.
	maxReads = 64
	// readersEach is how many statements for the reads of one identity run at a time.
	// With one, a read would wait for a statement that it has nothing to do with; with
	// many, each would be for one read again.
	readersEach = 2
)

// readQueue gathers the reads of one identity that wait while its earlier ones run:
// they then share a statement. To say who asks, and to set row level security up, costs
// Postgres several times what one more row does; the policies judge each row as they
// would alone. Identities share nothing, and one of them takes readersEach connections
// of the pool at most.
type readQueue struct {
	mu      sync.Mutex
	callers map[door]*readers // guarded by mu; those of whom a statement runs
	wg      sync.WaitGroup
}

// readers are the reads of one identity.
type readers struct {
	waiting []*podRead
	running int
}

// podRead is one waiting request; whoever reads for it fills it and closes done.
type podRead struct {
	id      string
	givenUp atomic.Bool
	done    chan struct{}
	pod     api.Pod
	err     error
}

// GetPod gives one pod that the caller may see. It is read after the call: reads that
// wait at the same time may share a statement, but no read one that runs already. What
// it refers to may be shared with another answer and must not be changed.
func (db *DB) GetPod(ctx context.Context, id access.Identity, podID string) (api.Pod, error) {
	if err := checkID(podID, "pod"); err != nil {
		return api.Pod{}, err
	}
	d, err := userDoor(id)
	if err != nil {
		return api.Pod{}, err
	}
	r := &podRead{id: strings.ToLower(podID), done: make(chan struct{})}
	if db.reads.join(d, r) {
		db.readFirst(ctx, d, r)
		return r.pod, r.err
	}
	limited, cancel := context.WithTimeout(ctx, db.patience(d, readTimeout))
	defer cancel()
	select {
	case <-r.done:
		return r.pod, r.err
	case <-limited.Done():
		r.givenUp.Store(true)
		if ctx.Err() == nil { // who asks would have waited longer
			return api.Pod{}, unavailable(limited.Err())
		}
		return api.Pod{}, toFault("get pod", ctx.Err())
	}
}

// GetPods gives those of the named pods that the caller may see, by id, in one statement.
func (db *DB) GetPods(ctx context.Context, id access.Identity, podIDs []string) (map[string]api.Pod, error) {
	ids := make([]string, len(podIDs))
	for i, pod := range podIDs {
		if err := checkID(pod, "pod"); err != nil {
			return nil, err
		}
		ids[i] = strings.ToLower(pod)
	}
	d, err := userDoor(id)
	if err != nil {
		return nil, err
	}
	return db.readPods(ctx, d, ids)
}

// join reports whether the read is its caller's to make; else it waits for a statement
// that others make.
func (q *readQueue) join(d door, r *podRead) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.callers == nil {
		q.callers = map[door]*readers{}
	}
	of := q.callers[d]
	if of == nil {
		of = &readers{}
		q.callers[d] = of
	}
	if of.running < readersEach {
		of.running++
		return true
	}
	of.waiting = append(of.waiting, r)
	return false
}

// next gives reads that wait, none when nobody does: the place is free then.
func (q *readQueue) next(d door) []*podRead {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := q.callers[d]
	if len(of.waiting) == 0 {
		if of.running--; of.running == 0 {
			delete(q.callers, d)
		}
		return nil
	}
	n := min(len(of.waiting), maxReads)
	group := of.waiting[:n:n]
	of.waiting = append([]*podRead(nil), of.waiting[n:]...)
	return group
}

// readFirst reads for a caller that found a place free, and leaves the place to those
// who have come to wait meanwhile.
func (db *DB) readFirst(ctx context.Context, d door, r *podRead) {
	defer func() {
		group := db.reads.next(d)
		if group == nil {
			return
		}
		// One caller's end must not fail its neighbours.
		ctx := context.WithoutCancel(ctx)
		db.reads.wg.Go(func() {
			for ; group != nil; group = db.reads.next(d) {
				db.readGroup(ctx, d, group)
			}
		})
	}()
	db.readGroup(ctx, d, []*podRead{r})
}

// readGroup reads pods in one statement. If that fails for what may be one of the rows
// it finds out which by halves, so that the others are read.
func (db *DB) readGroup(ctx context.Context, d door, group []*podRead) {
	ids := make([]string, 0, len(group))
	for _, r := range group {
		if !r.givenUp.Load() {
			ids = append(ids, r.id)
		}
	}
	found, err := db.readPods(ctx, d, ids)
	if err != nil && len(group) > 1 && refusesRow(err) {
		db.readGroup(ctx, d, group[:len(group)/2])
		db.readGroup(ctx, d, group[len(group)/2:])
		return
	}
	for _, r := range group {
		p, ok := found[r.id]
		switch {
		case err != nil:
			r.err = err
		case ok:
			r.pod = p
		default:
			r.err = fault.Wrap(pgx.ErrNoRows, fault.NotFound, "pod not found")
		}
		close(r.done)
	}
}

func (db *DB) readPods(ctx context.Context, d door, ids []string) (map[string]api.Pod, error) {
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // nobody waits any more
	}
	var pods []api.Pod
	err := db.read(ctx, "get pod", d, func(b *pgx.Batch) {
		b.Queue(indexedSQL)
		b.Queue("select "+podColumns+" from public.pods p where p.id = any ($1::text[]::uuid[])", ids).Query(all(&pods, scanPod))
	})
	if err != nil {
		return nil, err
	}
	found := make(map[string]api.Pod, len(pods))
	for _, p := range pods {
		found[p.ID] = p
	}
	return found, nil
}
