package agent

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// lineOverhead is what a kept line costs beside its text, in bytes.
const lineOverhead = wire.LogLineCost

// entry is a line as it is kept.
type entry struct {
	at      int64 // unix nanoseconds
	text    string
	stream  string
	attempt int
	dropped int
	number  uint64 // of the line, or of the first of those that a mark stands for
}

// count is how many lines the entry is, or stands for.
func (e entry) count() uint64 { return uint64(max(1, e.dropped)) } //nolint:gosec // not negative

func (e entry) cost() int { return len(e.text) + lineOverhead }

func (e entry) line() api.LogLine {
	return api.LogLine{Time: time.Unix(0, e.at).UTC(), Stream: e.stream, Line: e.text, Attempt: e.attempt, Dropped: e.dropped}
}

// ring is the newest output of one pod in one incarnation, bounded in bytes. Writers
// never wait. Every line has a number that no other line of this ring ever has, also each
// that was lost on its way here, and no other ring has its id: so a reader can go on
// exactly behind what it has, and is told how many lines it has missed.
type ring struct {
	ref  wire.PodRef
	id   string
	book *logbook

	mu      sync.Mutex
	lines   []entry
	next    uint64 // number of the next line
	bytes   int
	newest  int    // attempt of the newest line
	stored  uint64 // lines before this number are in the checkpoint
	closed  bool
	retired bool          // takes nothing more: the book has let go of it
	changed chan struct{} // not nil while a reader waits
}

func newRing(ref wire.PodRef, b *logbook) *ring {
	return &ring{ref: ref, id: strconv.FormatUint(rand.Uint64(), 36), book: b} //nolint:gosec // it tells rings apart and guards nothing
}

func (r *ring) append(l api.LogLine) { r.book.add(r.put(l)) }

// put takes a line in and gives by how many bytes the ring has grown.
func (r *ring) put(l api.LogLine) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest = max(r.newest, l.Attempt)
	if r.retired {
		return 0
	}
	e := entry{at: l.Time.UnixNano(), text: l.Line, stream: l.Stream, attempt: l.Attempt, dropped: l.Dropped, number: r.next}
	r.next += e.count()
	r.lines = append(r.lines, e)
	r.bytes += e.cost()
	grown := e.cost() - r.cut(r.book.limit)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return grown
}

// cut lets go of the oldest lines beyond a number of bytes, but for the newest line, and
// gives how many bytes that were. The caller holds mu.
func (r *ring) cut(limit int) (freed int) {
	n := 0
	for ; r.bytes-freed > limit && n < len(r.lines)-1; n++ {
		freed += r.lines[n].cost()
		r.lines[n] = entry{} // lets go of the text
	}
	r.lines = r.lines[n:]
	r.bytes -= freed
	return freed
}

// trim is cut for the book; memory goes back as well.
func (r *ring) trim(limit int) (freed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if freed = r.cut(limit); freed > 0 {
		r.lines = append(make([]entry, 0, len(r.lines)+1), r.lines...)
	}
	return freed
}

// retire ends the ring and gives how many bytes it had.
func (r *ring) retire() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	freed := r.bytes
	r.lines, r.bytes, r.retired, r.closed = nil, 0, true, true
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return freed
}

func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *ring) reopen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = false
}

// selection is the part of a ring that a reader asks for.
type selection struct {
	from    uint64
	attempt int // 0 for all
}

// seek finds what a reader asks for; false says that the ring never had it, or has let
// go of it.
func (r *ring) seek(o wire.LogsOpen, attempt int) (selection, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.After != nil && o.After.Ring == r.id {
		return selection{from: o.After.Next, attempt: attempt}, true
	}
	start, left, found := len(r.lines), o.Tail, attempt == 0
	for i, l := range slices.Backward(r.lines) {
		if attempt != 0 && l.attempt != attempt {
			continue
		}
		found = true
		if left == 0 || (o.Since != nil && l.at < o.Since.UnixNano()) {
			break
		}
		start = i
		left--
	}
	return selection{from: r.numberAt(start), attempt: attempt}, found
}

// numberAt is the number of an entry, and of the next line for the one behind the last.
// The caller holds mu.
func (r *ring) numberAt(i int) uint64 {
	if i < len(r.lines) {
		return r.lines[i].number
	}
	return r.next
}

// latest gives the attempt of the newest line, and 0 where there was none.
func (r *ring) latest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest
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

func (r *ring) read(s selection, maxLines, maxBytes int) reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	var got reading
	if first := r.numberAt(0); s.from < first {
		got.dropped = int(first - s.from) //nolint:gosec // a ring does not lose so many lines
		got.at = time.Now().UTC()
		if len(r.lines) > 0 {
			got.at = time.Unix(0, r.lines[0].at).UTC()
		}
	}
	i, _ := slices.BinarySearchFunc(r.lines, s.from, func(e entry, from uint64) int { return cmp.Compare(e.number, from) })
	for size := 0; i < len(r.lines) && len(got.lines) < maxLines && size < maxBytes; i++ {
		if s.attempt == 0 || r.lines[i].attempt == s.attempt {
			size += r.lines[i].cost()
			got.lines = append(got.lines, r.lines[i].line())
		}
	}
	got.next = r.numberAt(i)
	got.more, got.closed = i < len(r.lines), r.closed
	if !got.more {
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		got.changed = r.changed
	}
	return got
}

// tail gives the end of one attempt's output as text, at most n bytes of whole lines.
func (r *ring) tail(attempt, n int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	start := len(r.lines)
	for i := len(r.lines) - 1; i >= 0 && r.lines[i].attempt == attempt; i-- {
		if n -= len(r.lines[i].text) + 1; n < 0 {
			break
		}
		start = i
	}
	var b strings.Builder
	for _, l := range r.lines[start:] {
		if l.dropped == 0 {
			b.WriteString(l.text)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// checkpoint gives the end of the newest attempt's output, at most n bytes of text;
// false says that what is stored is as new, or that the pod has ended, whose report has it.
func (r *ring) checkpoint(n int) (kept, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := kept{ring: r, next: r.next}
	if r.closed || k.next == r.stored || len(r.lines) == 0 {
		return k, false
	}
	k.RunKey = api.RunKey{PodID: r.ref.PodID, Incarnation: r.ref.Incarnation, Attempt: r.newest}
	start, text := len(r.lines), 0
	for i := len(r.lines) - 1; i >= 0 && r.lines[i].attempt == r.newest && len(r.lines)-i <= wire.MaxCheckpointLines; i-- {
		if text += len(r.lines[i].text); text > n {
			break
		}
		start = i
	}
	for _, e := range r.lines[start:] {
		k.Lines = append(k.Lines, e.line())
		k.size += e.cost()
	}
	return k, true
}

// keep notes that lines before a number are in the checkpoint.
func (r *ring) keep(next uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stored = next
}
