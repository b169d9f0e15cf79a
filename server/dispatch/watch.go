package dispatch

import (
	"context"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/watch"
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
	ctx, err = s.addWatch(ctx, w.WatchID)
	if err != nil {
		return err
	}
	// Opening waits for the database where the watch goes on from a cursor; the reader of
	// the socket must not.
	s.life.run(func() {
		defer s.unwatch(w.WatchID)
		s.serveWatch(ctx, e, w)
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

// serveWatch answers the request and sends one watch until it is cancelled or falls
// behind.
func (s *session) serveWatch(ctx context.Context, e wire.Envelope, w wire.Watch) {
	source := watch.Source{Store: s.d.Store, Log: s.d.Log, Node: s.setAllocated}
	events, err := source.Open(ctx, s.viewer, watch.Request{
		Kind: w.Kind, Name: w.Name, Namespace: w.Namespace, LabelSelector: w.LabelSelector, Since: w.Since,
	})
	if err != nil {
		s.refuse(e, err)
		return
	}
	s.ack(e, wire.Unwatch{WatchID: w.WatchID})
	for event, err := range events {
		var ok bool
		switch {
		case err != nil:
			s.d.metrics.resyncs.Inc()
			s.offerFrame(ctx, wire.TypeWatchResync, wire.WatchResync{WatchID: w.WatchID, Reason: "the watch fell behind; begin again"})
			return
		case event.Event == wire.EventBookmark:
			ok = s.offerFrame(ctx, wire.TypeBookmark, wire.Bookmark{WatchID: w.WatchID, Cursor: event.Cursor, Synced: event.Synced})
		default:
			ok = s.out.offer(ctx.Done(), encodeEvent(w.WatchID, event))
		}
		if !ok {
			return
		}
	}
}

// encodeEvent is encode for the frames that are by far the most.
func encodeEvent(watchID string, e wire.WatchEvent) []byte {
	const most = 192 // bytes beside those
	frame := make([]byte, 0, len(watchID)+len(e.Cursor)+len(e.Object)+most)
	frame = watch.AppendString(append(frame, `{"type":"`+wire.TypeEvent+`","payload":{"watchId":`...), watchID)
	return append(watch.AppendObject(append(frame, ','), e), "}}"...)
}

func (s *session) offerFrame(ctx context.Context, typ string, payload any) bool {
	frame, err := encode(typ, "", 0, payload)
	return err == nil && s.out.offer(ctx.Done(), frame)
}
