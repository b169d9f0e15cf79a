package agent

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	lineOverhead  = 64  // bytes that a kept line costs beside its text
	maxEndedRings = 256 // pods whose output is kept after they have ended
)

// logbook keeps the output of the pods that run here and of the last that did.
type logbook struct {
	mu    sync.Mutex
	limit int
	rings map[string]*ring // by pod id; the newest incarnation has the place
	ended []string         // pods whose ring is closed, oldest first
}

func newLogbook(limit int) *logbook {
	return &logbook{limit: limit, rings: map[string]*ring{}}
}

// open gives the ring of a pod, a fresh one when the old one is closed and of an
// older incarnation.
func (b *logbook) open(ref wire.PodRef) *ring {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.rings[ref.PodID]; r != nil && r.incarnation == ref.Incarnation {
		r.reopen()
		return r
	}
	r := newRing(ref.Incarnation, b.limit)
	if old := b.rings[ref.PodID]; old == nil || old.incarnation < ref.Incarnation {
		b.rings[ref.PodID] = r
	}
	return r
}

func (b *logbook) find(podID string) *ring {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rings[podID]
}

// close marks a pod's output as complete and lets go of the oldest such.
func (b *logbook) close(ref wire.PodRef, r *ring) {
	r.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = append(b.ended, ref.PodID)
	for len(b.ended) > maxEndedRings {
		if old := b.rings[b.ended[0]]; old != nil && old.isClosed() {
			delete(b.rings, b.ended[0])
		}
		b.ended = b.ended[1:]
	}
}

// ring is the newest output of one pod, bounded in bytes. Writers never wait.
type ring struct {
	incarnation int

	mu      sync.Mutex
	lines   []api.LogLine // lines[0] has number first
	first   uint64
	bytes   int
	limit   int
	newest  int // attempt of the newest line
	closed  bool
	changed chan struct{} // not nil while a reader waits
}

func newRing(incarnation, limit int) *ring {
	return &ring{incarnation: incarnation, limit: limit}
}

func (r *ring) append(l api.LogLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, l)
	r.bytes += len(l.Line) + lineOverhead
	r.newest = max(r.newest, l.Attempt)
	for r.bytes > r.limit && len(r.lines) > 1 {
		r.bytes -= len(r.lines[0].Line) + lineOverhead
		r.lines[0] = api.LogLine{} // lets go of the text
		r.lines = r.lines[1:]
		r.first++
	}
	r.wake()
}

func (r *ring) wake() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.wake()
}

func (r *ring) reopen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = false
}

func (r *ring) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// seek finds the number of the first line that a reader asks for, and the attempt
// that it means by "previous".
func (r *ring) seek(o wire.LogsOpen) (uint64, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	previous := r.newest - 1
	start, left := len(r.lines), o.Tail
	for i, l := range slices.Backward(r.lines) {
		if o.Previous && l.Attempt != previous {
			continue
		}
		if left == 0 || (o.Since != nil && l.Time.Before(*o.Since)) {
			break
		}
		start = i
		left--
	}
	return r.first + uint64(start), previous
}

// reading is one look at a ring.
type reading struct {
	lines   []api.LogLine
	next    uint64
	dropped int       // lines that left the ring before they were read
	at      time.Time // of the line behind the gap
	more    bool
	closed  bool
	changed <-chan struct{} // closes when there is more
}

func (r *ring) read(from uint64, maxLines, maxBytes int) reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	var got reading
	if from < r.first {
		got.dropped = int(r.first - from)
		from = r.first
		got.at = r.lines[0].Time
	}
	i := int(from - r.first)
	size := 0
	for i < len(r.lines) && len(got.lines) < maxLines && size < maxBytes {
		size += len(r.lines[i].Line) + lineOverhead
		got.lines = append(got.lines, r.lines[i])
		i++
	}
	got.next = r.first + uint64(i)
	got.more, got.closed = i < len(r.lines), r.closed
	if !got.more {
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		got.changed = r.changed
	}
	return got
}

// tail gives the end of one attempt's output, at most n bytes of whole lines.
func (r *ring) tail(attempt, n int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	start := len(r.lines)
	for i := len(r.lines) - 1; i >= 0 && r.lines[i].Attempt == attempt; i-- {
		if n -= len(r.lines[i].Line) + 1; n < 0 {
			break
		}
		start = i
	}
	var b strings.Builder
	for _, l := range r.lines[start:] {
		if l.Dropped == 0 {
			b.WriteString(l.Line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}
