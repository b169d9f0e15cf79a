// Package watch turns the read model into what a watcher is sent: what exists or has
// changed since a cursor, then every change, and now and then how far that is. It
// shows each watcher only what they may see. It refuses to know about transports.
package watch

import (
	"context"
	"encoding/json"
	"iter"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// The kinds that can be watched.
const (
	Pods  = "pods"
	Nodes = "nodes"
)

// catchUp bounds the wait for a read model that is behind a watcher's cursor: the
// watcher comes from another server.
const catchUp = 5 * time.Second

// Log remembers what has happened.
type Log interface {
	// Covers reports whether a reader at have knows all that one at want could know.
	Covers(have, want string) bool
	// Position is the cursor of this moment.
	Position(ctx context.Context) (string, error)
	// ChangedSince gives the ids that have changed since, and those that are gone and
	// that the watcher could see. It fails with Gone for a cursor that is too old.
	ChangedSince(ctx context.Context, id access.Identity, kind, cursor string) (changed map[string]bool, gone []string, err error)
}

// Source is what watches are made from. Log may be nil: then no watch can go on from
// a cursor.
type Source struct {
	Store *store.Store
	Log   Log
	Node  func(api.Node) api.Node // completes a node that is shown; may be nil
}

// Request says what is to be watched.
type Request struct {
	Kind          string
	Name          string // an id, or the name of a node; "" for all
	Namespace     string
	LabelSelector string
	Since         string              // a cursor; "" begins with everything that exists
	Pod           func(api.Pod) bool  // a further condition; may be nil
	Node          func(api.Node) bool // a further condition; may be nil
}

// Open checks a request and gives its events, which end with ctx or behind the first
// error. Gone means that the watcher must list again. The viewer is asked for every
// event, so that a right that is taken away is gone at once.
func (s Source) Open(ctx context.Context, viewer func() access.Identity, r Request) (iter.Seq2[wire.WatchEvent, error], error) {
	selector, err := api.ParseSelector(r.LabelSelector)
	if err != nil {
		return nil, api.InvalidField("labelSelector", fault.FieldInvalidFormat, "%v", err)
	}
	if r.Since != "" {
		if err := s.behind(ctx, r.Since); err != nil {
			return nil, err
		}
	}
	// The events of the table begin before the log is read: what happens in between is
	// told twice rather than never.
	ctx, cancel := context.WithCancel(ctx)
	var events iter.Seq2[wire.WatchEvent, error]
	resume := func() (*since, error) {
		if r.Since == "" {
			return nil, nil //nolint:nilnil // no cursor, nothing to go on from
		}
		changed, gone, err := s.Log.ChangedSince(ctx, viewer(), r.Kind, r.Since)
		from := &since{changed: changed, gone: make(map[string]bool, len(gone))}
		for _, id := range gone {
			from.gone[id] = true
		}
		return from, err
	}
	switch r.Kind {
	case Pods:
		w := watcher[api.Pod]{sees: s.podFilter(viewer, r, selector), encode: encodePod}
		w.shown.rest = r.all() && viewer().Staff()
		events, err = open(ctx, s.Store.Pods, resume, w)
	case Nodes:
		w := watcher[api.Node]{sees: nodeFilter(viewer, r, selector), encode: s.encodeNode}
		w.shown.rest = r.all()
		events, err = open(ctx, s.Store.Nodes, resume, w)
	default:
		err = api.InvalidField("kind", fault.FieldInvalidValue, `must be "pods" or "nodes"`)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return func(yield func(wire.WatchEvent, error) bool) {
		defer cancel()
		events(yield)
	}, nil
}

// encodePod encodes a change once for all its watchers: that is most of what a watcher
// costs.
func encodePod(e *store.Event[api.Pod]) (json.RawMessage, error) {
	if raw, ok := e.Shared.Load().(json.RawMessage); ok {
		return raw, nil
	}
	raw, err := json.Marshal(e.Value)
	if err == nil {
		e.Shared.Store(json.RawMessage(raw))
	}
	return raw, err
}

// encodeNode encodes a node with what it is completed by at the moment.
func (s Source) encodeNode(e *store.Event[api.Node]) (json.RawMessage, error) {
	n := *e.Value
	if s.Node != nil {
		n = s.Node(n)
	}
	return json.Marshal(n)
}

// behind waits until the read model is not behind a cursor.
func (s Source) behind(ctx context.Context, cursor string) error {
	if s.Log == nil {
		return fault.New(fault.Gone, "since: this server cannot go on from a cursor: list again")
	}
	if !s.Log.Covers(cursor, cursor) {
		return api.InvalidField("since", fault.FieldInvalidFormat, "must be the cursor of a list, an event or a bookmark")
	}
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	if s.Store.Await(ctx, func(have string) bool { return s.Log.Covers(have, cursor) }) != nil {
		return fault.New(fault.Unavailable, "this server is behind the cursor, because its database is away or slow: try again")
	}
	return nil
}

func (s Source) podFilter(viewer func() access.Identity, r Request, selector api.Selector) func(api.Pod) bool {
	return func(p api.Pod) bool {
		if r.Name != "" && !strings.EqualFold(p.ID, r.Name) || r.Namespace != "" && p.Namespace != r.Namespace || !selector.Matches(p.Labels) {
			return false
		}
		if r.Pod != nil && !r.Pod(p) {
			return false
		}
		id := viewer()
		return access.VisiblePod(id, p, func(ns string) bool { return s.Store.MemberOf(ns, id.UserID) })
	}
}

func nodeFilter(viewer func() access.Identity, r Request, selector api.Selector) func(api.Node) bool {
	return func(n api.Node) bool {
		if r.Name != "" && !strings.EqualFold(n.ID, r.Name) && n.Name != r.Name || !selector.Matches(n.Labels) {
			return false
		}
		return (r.Node == nil || r.Node(n)) && access.VisibleNode(viewer(), n)
	}
}

// all reports whether a watch leaves nothing out but what the watcher may not see.
func (r Request) all() bool {
	return r.Name == "" && r.Namespace == "" && r.LabelSelector == "" && r.Pod == nil && r.Node == nil
}

// open begins a watch of one table.
func open[T any](ctx context.Context, t *store.Table[T], resume func() (*since, error), w watcher[T]) (iter.Seq2[wire.WatchEvent, error], error) {
	changes := t.Events(ctx, store.WatchBuffer)
	from, err := resume()
	if err != nil {
		return nil, err
	}
	return func(yield func(wire.WatchEvent, error) bool) {
		w.since, w.yield = from, yield
		for events := range changes {
			for i := range events {
				if !w.take(&events[i]) {
					return
				}
			}
		}
	}, nil
}

// since is what a watch that goes on from a cursor tells of first.
type since struct {
	changed map[string]bool
	gone    map[string]bool // without what is there again, and shown
}

// watcher is one watch under way. It owns its state; events are shared with other watchers.
type watcher[T any] struct {
	shown  shown
	since  *since // until everything that existed has been gone through
	sees   func(T) bool
	encode func(*store.Event[T]) (json.RawMessage, error)
	yield  func(wire.WatchEvent, error) bool
}

// take tells of one event and reports whether the watch goes on. An object that leaves
// the watcher's sight is deleted for them: its id, and nothing of what it has become.
func (w *watcher[T]) take(e *store.Event[T]) bool {
	switch e.Type {
	case store.Put:
		return w.put(e)
	case store.Delete:
		had := w.shown.has(e.ID)
		w.shown.forget(e.ID)
		return !had || w.object(wire.EventDelete, e)
	case store.Synced:
		if !w.gone(e.Cursor) {
			return false
		}
		w.since = nil
		return w.yield(wire.WatchEvent{Event: wire.EventBookmark, Cursor: e.Cursor, Synced: true}, nil)
	case store.Bookmark:
		return w.yield(wire.WatchEvent{Event: wire.EventBookmark, Cursor: e.Cursor}, nil)
	default:
		w.yield(wire.WatchEvent{}, fault.New(fault.Gone, "the watch fell behind: list again, and watch from the new cursor"))
		return false
	}
}

func (w *watcher[T]) put(e *store.Event[T]) bool {
	had := !e.New && w.shown.has(e.ID)
	sees := w.sees(*e.Value)
	w.shown.note(e.ID, sees)
	if !sees {
		return !had || w.removed(e.ID, e.Cursor)
	}
	if w.since != nil && !w.since.meet(e.ID) {
		return true // the watcher has had it since before the cursor
	}
	return w.object(wire.EventPut, e)
}

// meet notes that the watcher is shown an object, and reports whether it has changed since
// the cursor.
func (s *since) meet(id string) bool {
	delete(s.gone, id)
	return s.changed[id]
}

// gone tells what a watcher who goes on from a cursor has not heard the end of.
func (w *watcher[T]) gone(cursor string) bool {
	if w.since == nil {
		return true
	}
	for id := range w.since.gone {
		if !w.removed(id, cursor) {
			return false
		}
	}
	return true
}

func (w *watcher[T]) object(kind string, e *store.Event[T]) bool {
	raw, err := w.encode(e)
	if err != nil {
		w.yield(wire.WatchEvent{}, fault.Wrap(err, fault.Internal, "an object could not be encoded"))
		return false
	}
	return w.yield(wire.WatchEvent{Event: kind, Object: raw, Cursor: e.Cursor}, nil)
}

func (w *watcher[T]) removed(id, cursor string) bool {
	raw, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		return false
	}
	return w.yield(wire.WatchEvent{Event: wire.EventDelete, Object: raw, Cursor: cursor}, nil)
}
