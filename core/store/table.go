// Package store is the read model: immutable snapshots of what Postgres holds,
// and watches on them. It computes nothing and stores nothing of its own; what
// it shows is what the change feed told, in the feed's order.
//
// Snapshots cost nothing to take and a write costs O(log n). A watch never
// blocks the writer: each watcher has a bounded queue, and one that falls behind
// is told so and starts over.
package store

import (
	"context"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benbjohnson/immutable"
)

// WatchBuffer bounds the events that wait for one watcher, unless it asks for more.
const WatchBuffer = 4096

// viewedAtOnce bounds the events by which a watcher is given what exists, and viewedEach
// those for one that is done with them before it gets more: many may begin at once, and each
// event holds an object.
const (
	viewedAtOnce = 1024
	viewedEach   = 32
)

// bookmarkEvery is how often a watch tells how far it has come. A cursor is worth
// something for minutes only, so a watch without events needs new ones.
const bookmarkEvery = 15 * time.Second

// EventType says what an Event means.
type EventType uint8

// The event types.
const (
	Put      EventType = iota + 1 // Value is new or has changed
	Delete                        // Value is the last known state
	Synced                        // everything that existed when the watch began has been sent
	Resync                        // the watcher fell behind: forget everything, what exists follows, then Synced
	Bookmark                      // everything up to Cursor has been sent
)

// Event is one step of a watch. ID and Value are set for Put and Delete; the value is that
// of all watchers and of the views, and nobody may change it. Whoever has
// taken in the events up to this one may go on from Cursor, and knows the View of that
// Version; they are empty and 0 while what exists is being sent.
type Event[T any] struct {
	Type    EventType
	New     bool // of a Put: there was no object with this ID
	ID      string
	Value   *T
	Cursor  string
	Version uint64
	Shared  *Shared // of all watchers of this change; nil while what exists is being sent
}

// Shared is for what one watcher makes of a change and others can use, as its encoding. It
// lives as long as one of them has the change ahead.
type Shared struct{ made atomic.Pointer[any] }

// Load gives what was stored, and nil before that.
func (s *Shared) Load() any {
	if s == nil {
		return nil
	}
	if made := s.made.Load(); made != nil {
		return *made
	}
	return nil
}

// Store keeps what was made, which nobody may change any more. It does nothing where there
// is nobody to share it with.
func (s *Shared) Store(made any) {
	if s != nil {
		s.made.Store(&made)
	}
}

// Table holds the objects of one kind. It is safe for concurrent use.
type Table[T any] struct {
	key     func(T) string
	labels  func(T) map[string]string // nil: objects are not found by them
	current atomic.Pointer[View[T]]

	mu       sync.Mutex // held for writing and for joining, never while sending
	watchers map[*watcher[T]]struct{}
	wakes    map[chan struct{}]struct{}
}

// View is a Table at one moment; it never changes.
type View[T any] struct {
	m       *immutable.Map[string, *T] // what it points to never changes
	labels  *labelled
	version uint64
	cursor  string
	at      time.Time
}

// NewTable makes an empty Table; key gives an object's key.
func NewTable[T any](key func(T) string) *Table[T] {
	t := &Table[T]{
		key:      key,
		watchers: map[*watcher[T]]struct{}{},
		wakes:    map[chan struct{}]struct{}{},
	}
	t.current.Store(&View[T]{m: immutable.NewMap[string, *T](nil)})
	return t
}

// newLabelledTable makes an empty Table whose objects are found by their labels too.
func newLabelledTable[T any](key func(T) string, labels func(T) map[string]string) *Table[T] {
	t := NewTable(key)
	t.labels = labels
	return t
}

// Snapshot is the Table as it is now.
func (t *Table[T]) Snapshot() View[T] { return *t.current.Load() }

// Get gives the object with a key.
func (v View[T]) Get(id string) (T, bool) {
	value, ok := v.m.Get(id)
	if !ok {
		var none T
		return none, false
	}
	return *value, true
}

// Len counts the objects.
func (v View[T]) Len() int { return v.m.Len() }

// Version grows with every change of the Table; equal versions are equal views.
func (v View[T]) Version() uint64 { return v.version }

// Cursor is the feed's position that the view is complete up to.
func (v View[T]) Cursor() string { return v.cursor }

// At is when the feed began to read the view, by this machine's clock; zero when the
// feed could not tell whether the database has crashed since it read the objects.
func (v View[T]) At() time.Time { return v.at }

// All gives keys and objects in no particular order.
func (v View[T]) All() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for id, value := range v.each() {
			if !yield(id, *value) {
				return
			}
		}
	}
}

// each is All without copies.
func (v View[T]) each() iter.Seq2[string, *T] {
	return func(yield func(string, *T) bool) {
		for it := v.m.Iterator(); !it.Done(); {
			id, value, _ := it.Next()
			if !yield(id, value) {
				return
			}
		}
	}
}

// Notify gives a channel that holds one value after any number of changes, and at
// once: a loop that reads the whole snapshot needs no more. It ends with ctx and
// is never closed.
func (t *Table[T]) Notify(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	c <- struct{}{}
	t.mu.Lock()
	t.wakes[c] = struct{}{}
	t.mu.Unlock()
	context.AfterFunc(ctx, func() {
		t.mu.Lock()
		delete(t.wakes, c)
		t.mu.Unlock()
	})
	return c
}

// Watch gives Puts of what exists, Synced, then every change in order, and now and
// then a Bookmark. A watcher
// that falls behind gets Resync, Puts of what exists, Synced, and goes on. The
// channel closes when ctx ends.
func (t *Table[T]) Watch(ctx context.Context) <-chan Event[T] {
	out := make(chan Event[T], 64)
	all := t.Events(ctx, WatchBuffer)
	go func() {
		defer close(out)
		for events := range all {
			for _, e := range events {
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

// WatchMany is Watch for a watcher that takes in many events at once: whatever waits for it
// when it comes. It falls behind only when more than this many events wait.
func (t *Table[T]) WatchMany(ctx context.Context, most int) <-chan []Event[T] {
	out := make(chan []Event[T])
	all := t.events(ctx, most, false)
	go func() {
		defer close(out)
		for events := range all {
			select {
			case out <- events:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// Events is WatchMany without a goroutine: it waits for changes in the loop of whoever
// ranges over it, once, until ctx ends. The watch begins with the call. The events may be
// those of all watchers and are good for one turn of the loop: nobody may change or keep
// the slice.
func (t *Table[T]) Events(ctx context.Context, most int) iter.Seq[[]Event[T]] {
	return t.events(ctx, most, true)
}

// events is Events; the slices may be kept unless each is done with in one turn.
func (t *Table[T]) events(ctx context.Context, most int, each bool) iter.Seq[[]Event[T]] {
	w, view := t.join(most)
	w.each = each
	context.AfterFunc(ctx, func() { t.leave(w) })
	return func(yield func([]Event[T]) bool) {
		defer t.leave(w)
		begun := view
		view = View[T]{} // a watch that goes on for long holds nothing of what there was
		t.follow(ctx, w, &begun, yield)
	}
}

// leave ends a watch; it may have ended before.
func (t *Table[T]) leave(w *watcher[T]) {
	t.mu.Lock()
	delete(t.watchers, w)
	t.mu.Unlock()
	w.mu.Lock()
	w.lagged, w.queue = true, nil
	w.mu.Unlock()
}

// apply takes in changes of one batch and tells the watchers.
func (t *Table[T]) apply(c Changes[T], b *Batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.current.Load()
	next := View[T]{m: old.m, labels: old.labels, version: old.version, cursor: b.Cursor, at: b.At}
	if !b.Reset && len(c.Put) == 0 && len(c.Delete) == 0 {
		t.current.Store(&next)
		return
	}
	moved := relabelled{}
	labels := func(v *T) map[string]string {
		if t.labels == nil || v == nil {
			return nil
		}
		return t.labels(*v)
	}
	events := make([]Event[T], 0, len(c.Put)+len(c.Delete))
	gone := c.Delete
	if b.Reset {
		gone = t.missing(old, c.Put)
	}
	for _, id := range gone {
		if value, ok := next.m.Get(id); ok {
			next.m = next.m.Delete(id)
			moved.note(id, labels(value), nil)
			events = append(events, Event[T]{Type: Delete, ID: id, Value: value, Cursor: old.cursor, Version: old.version, Shared: &Shared{}})
		}
	}
	for i := range c.Put {
		value := new(c.Put[i]) // alone: one that stays must not hold all that came with it
		id := t.key(*value)
		before, known := next.m.Get(id)
		if t.labels != nil {
			moved.note(id, labels(before), labels(value))
		}
		next.m = next.m.Set(id, value)
		events = append(events, Event[T]{Type: Put, New: !known, ID: id, Value: value, Cursor: old.cursor, Version: old.version, Shared: &Shared{}})
	}
	if len(events) == 0 {
		t.current.Store(&next)
		return
	}
	next.version++
	next.labels = moved.apply(old.labels)
	t.current.Store(&next)
	last := &events[len(events)-1] // only then is the batch complete
	last.Cursor, last.Version = b.Cursor, next.version
	t.tell(events)
}

// tell gives the watchers what has changed, and wakes who waits for any change.
func (t *Table[T]) tell(events []Event[T]) {
	for w := range t.watchers {
		w.push(events)
	}
	for c := range t.wakes {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// missing lists the keys of old that a complete batch does not name.
func (t *Table[T]) missing(old *View[T], put []T) []string {
	named := make(map[string]struct{}, len(put))
	for _, value := range put {
		named[t.key(value)] = struct{}{}
	}
	var gone []string
	for id := range old.each() {
		if _, ok := named[id]; !ok {
			gone = append(gone, id)
		}
	}
	return gone
}

// watcher is the queue of one Watch.
type watcher[T any] struct {
	mu     sync.Mutex
	queue  []Event[T]
	most   int
	each   bool // it is done with events before it gets more
	lagged bool
	wake   chan struct{}
}

// push never blocks: a full queue is thrown away and the watcher starts over.
func (w *watcher[T]) push(events []Event[T]) {
	w.mu.Lock()
	switch {
	case w.lagged:
	case len(w.queue)+len(events) > w.most:
		w.lagged, w.queue = true, nil
	case len(w.queue) == 0:
		w.queue = slices.Clip(events) // of all watchers, who leave it as it is
	default:
		w.queue = append(w.queue, events...)
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher[T]) take() ([]Event[T], bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.queue
	w.queue = nil
	return events, w.lagged
}

// join makes a watcher, and gives the view that its queue goes on from.
func (t *Table[T]) join(most int) (*watcher[T], View[T]) {
	w := &watcher[T]{most: most, wake: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchers[w] = struct{}{}
	return w, t.Snapshot()
}

// follow gives one watcher its events until ctx ends or it takes no more. It empties view.
func (t *Table[T]) follow(ctx context.Context, w *watcher[T], view *View[T], give func([]Event[T]) bool) {
	cursor := view.cursor
	if !giveView(view, w.each, give) {
		return
	}
	marks := time.NewTicker(bookmarkEvery)
	defer marks.Stop()
	for {
		mark := false
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-marks.C:
			mark = true
		}
		if ctx.Err() != nil {
			return
		}
		events, lagged, at := t.take(w)
		if lagged {
			*view = t.rejoin(w)
			if !give([]Event[T]{{Type: Resync, Cursor: cursor}}) || !giveView(view, w.each, give) {
				return
			}
			continue
		}
		if mark {
			events = append(events, Event[T]{Type: Bookmark, Cursor: at})
		}
		if len(events) > 0 && !give(events) {
			return
		}
	}
}

// take empties the watcher's queue, and gives the cursor that it is complete up to.
func (t *Table[T]) take(w *watcher[T]) (events []Event[T], lagged bool, cursor string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	events, lagged = w.take()
	return events, lagged, t.Snapshot().cursor
}

// rejoin clears the lag and takes the view that the queue goes on from, as one step.
func (t *Table[T]) rejoin(w *watcher[T]) View[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.mu.Lock()
	w.lagged, w.queue = false, nil
	w.mu.Unlock()
	return t.Snapshot()
}

// giveView gives everything that exists, some of it at a time, and empties the view.
func giveView[T any](view *View[T], each bool, give func([]Event[T]) bool) bool {
	most := viewedAtOnce
	if each {
		most = viewedEach
	}
	some := make([]Event[T], 0, min(view.Len()+1, most))
	for id, value := range view.each() {
		if len(some) == most {
			if !give(some) {
				return false
			}
			if some = some[:0]; !each {
				some = make([]Event[T], 0, most)
			}
		}
		some = append(some, Event[T]{Type: Put, New: true, ID: id, Value: value})
	}
	last := Event[T]{Type: Synced, Cursor: view.cursor, Version: view.version}
	*view = View[T]{}
	return give(append(some, last))
}
