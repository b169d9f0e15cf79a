package dispatch

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func (s *session) onWatch(ctx context.Context, e wire.Envelope) error {
	w, err := decode[wire.Watch](e)
	if err != nil {
		return err
	}
	if err := s.mayWatch(w); err != nil {
		return err
	}
	selector, err := api.ParseSelector(w.LabelSelector)
	if err != nil {
		return fault.New(fault.Validation, "labelSelector: %v", err)
	}
	watch, err := s.addWatch(ctx, w.WatchID)
	if err != nil {
		return err
	}
	s.ack(e, wire.Unwatch{WatchID: w.WatchID})
	s.wg.Go(func() {
		defer s.unwatch(w.WatchID)
		if w.Kind == "pods" {
			serveWatch(watch, s, w.WatchID, s.d.Store.Pods, s.podFilter(w, selector), nil)
		} else {
			serveWatch(watch, s, w.WatchID, s.d.Store.Nodes, s.nodeFilter(w, selector), s.setAllocated)
		}
	})
	return nil
}

// addWatch makes the context of a new watch, which ends with unwatch.
func (s *session) addWatch(ctx context.Context, id string) (context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.watches[id]; twice {
		return nil, fault.New(fault.Conflict, "the watch %s exists", truncate(id, 64))
	}
	if len(s.watches) >= maxWatches {
		return nil, fault.New(fault.RateLimited, "a connection may have at most %d watches", maxWatches)
	}
	ctx, cancel := context.WithCancel(ctx)
	s.watches[id] = cancel
	return ctx, nil
}

func (s *session) mayWatch(w wire.Watch) error {
	_, known := s.who()
	id := s.viewer()
	kinds := map[string]access.Kind{"pods": access.Pod, "nodes": access.Node}
	kind, ok := kinds[w.Kind]
	switch {
	case !known:
		return fault.New(fault.AuthenticationRequired, "authenticate first")
	case !ok:
		return fault.New(fault.Validation, `kind must be "pods" or "nodes"`)
	case w.WatchID == "" || len(w.WatchID) > 64:
		return fault.New(fault.Validation, "watchId must have 1 to 64 characters")
	case id.NodeID != "" || !id.Can(access.Read, kind):
		return fault.New(fault.Forbidden, "your role does not allow you to see %s", w.Kind)
	default:
		return nil
	}
}

func (s *session) onUnwatch(_ context.Context, e wire.Envelope) error {
	w, err := decode[wire.Unwatch](e)
	if err != nil {
		return err
	}
	if !s.unwatch(w.WatchID) {
		return fault.New(fault.NotFound, "there is no such watch")
	}
	s.ack(e, w)
	return nil
}

func (s *session) unwatch(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	cancel, ok := s.watches[id]
	if ok {
		cancel()
		delete(s.watches, id)
	}
	return ok
}

func (s *session) podFilter(w wire.Watch, selector api.Selector) func(api.Pod) bool {
	return func(p api.Pod) bool {
		if w.Name != "" && !strings.EqualFold(p.ID, w.Name) || w.Namespace != "" && p.Namespace != w.Namespace || !selector.Matches(p.Labels) {
			return false
		}
		id := s.viewer()
		return access.VisiblePod(id, p, func(ns string) bool { return s.d.Store.MemberOf(ns, id.UserID) })
	}
}

func (s *session) nodeFilter(w wire.Watch, selector api.Selector) func(api.Node) bool {
	return func(n api.Node) bool {
		if w.Name != "" && !strings.EqualFold(n.ID, w.Name) && n.Name != w.Name || !selector.Matches(n.Labels) {
			return false
		}
		return access.VisibleNode(s.viewer(), n)
	}
}

// serveWatch sends one watch until it is cancelled or falls behind. An object that
// leaves the watcher's sight is deleted for them.
func serveWatch[T any](ctx context.Context, s *session, id string, t *store.Table[T], sees func(T) bool, dress func(T) T) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shown := map[string]struct{}{}
	for e := range t.Watch(ctx) {
		ok := true
		switch e.Type {
		case store.Put:
			_, had := shown[e.ID]
			switch sight := sees(e.Value); {
			case sight:
				shown[e.ID] = struct{}{}
				ok = offerEvent(ctx, s, id, wire.EventPut, e, dress)
			case had:
				delete(shown, e.ID)
				ok = offerGone(ctx, s, id, e.ID, e.Cursor)
			}
		case store.Delete:
			if _, had := shown[e.ID]; had {
				delete(shown, e.ID)
				ok = offerEvent(ctx, s, id, wire.EventDelete, e, dress)
			}
		case store.Synced:
			ok = s.offerFrame(ctx, wire.TypeBookmark, wire.Bookmark{WatchID: id, Cursor: e.Cursor, Synced: true})
		case store.Resync:
			s.d.metrics.resyncs.Inc()
			s.offerFrame(ctx, wire.TypeWatchResync, wire.WatchResync{WatchID: id, Reason: "the watch fell behind; begin again"})
			return
		}
		if !ok {
			return
		}
	}
}

func offerEvent[T any](ctx context.Context, s *session, id, kind string, e store.Event[T], dress func(T) T) bool {
	value := e.Value
	if dress != nil {
		value = dress(value)
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return false
	}
	return s.offerFrame(ctx, wire.TypeEvent, wire.Event{WatchID: id, Event: kind, Object: raw, Cursor: e.Cursor})
}

// offerGone says that an object has left the watcher's sight: its name, and
// nothing of what it has become.
func offerGone(ctx context.Context, s *session, watch, id, cursor string) bool {
	raw, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		return false
	}
	return s.offerFrame(ctx, wire.TypeEvent, wire.Event{WatchID: watch, Event: wire.EventDelete, Object: raw, Cursor: cursor})
}

func (s *session) offerFrame(ctx context.Context, typ string, payload any) bool {
	frame, err := encode(typ, "", 0, payload)
	return err == nil && s.offer(ctx, frame)
}
