package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// Watcher follows pods and nodes over the WebSocket endpoint and keeps when it
// first saw each state.
type Watcher struct {
	conn   *websocket.Conn
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every event
	pods    map[string]api.Pod
	nodes   map[string]api.Node
	gone    map[string]time.Time // deleted pods
	seen    map[string]time.Time // "<id>/<status>" -> when first seen
	err     error
}

// Watch opens a watch on all pods and nodes that the token's user may see, and
// returns when everything that exists has arrived.
func Watch(ctx context.Context, wsURL, token string) (*Watcher, error) {
	dialCtx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	conn, resp, err := websocket.Dial(dialCtx, wsURL, &websocket.DialOptions{
		Subprotocols: []string{wire.Subprotocol},
		HTTPHeader:   http.Header{"Authorization": {"Bearer " + token}},
	})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	conn.SetReadLimit(wire.MaxMessage)
	runCtx, cancel := context.WithCancel(ctx)
	w := &Watcher{
		conn: conn, cancel: cancel, ended: make(chan struct{}), changed: make(chan struct{}),
		pods: map[string]api.Pod{}, nodes: map[string]api.Node{},
		gone: map[string]time.Time{}, seen: map[string]time.Time{},
	}
	synced := make(chan struct{}, 2)
	go w.read(runCtx, synced)
	for _, kind := range []string{"pods", "nodes"} {
		payload, err := json.Marshal(wire.Watch{WatchID: kind, Kind: kind})
		if err != nil {
			return nil, err
		}
		frame, err := json.Marshal(wire.Envelope{Type: wire.TypeWatch, Payload: payload, CorrelationID: kind})
		if err != nil {
			return nil, err
		}
		if err := conn.Write(dialCtx, websocket.MessageText, frame); err != nil {
			return nil, fmt.Errorf("watch %s: %w", kind, err)
		}
	}
	for range 2 {
		select {
		case <-synced:
		case <-w.ended:
			return nil, fmt.Errorf("watch: %w", w.err)
		case <-dialCtx.Done():
			w.Close()
			return nil, fmt.Errorf("watch: not synced: %w", dialCtx.Err())
		}
	}
	return w, nil
}

// Close ends the watch.
func (w *Watcher) Close() {
	w.cancel()
	<-w.ended
	_ = w.conn.CloseNow()
}

func (w *Watcher) read(ctx context.Context, synced chan<- struct{}) {
	defer close(w.ended)
	for {
		_, frame, err := w.conn.Read(ctx)
		if err == nil {
			err = w.take(frame, synced)
		}
		if err != nil {
			w.mu.Lock()
			w.err = err
			close(w.changed)
			w.changed = make(chan struct{})
			w.mu.Unlock()
			return
		}
	}
}

func (w *Watcher) take(frame []byte, synced chan<- struct{}) error {
	now := time.Now()
	var e wire.Envelope
	if err := json.Unmarshal(frame, &e); err != nil {
		return err
	}
	switch e.Type {
	case wire.TypeBookmark:
		var b wire.Bookmark
		if err := json.Unmarshal(e.Payload, &b); err != nil {
			return err
		}
		if b.Synced {
			synced <- struct{}{}
		}
	case wire.TypeEvent:
		var ev wire.Event
		if err := json.Unmarshal(e.Payload, &ev); err != nil {
			return err
		}
		return w.event(ev, now)
	case wire.TypeWatch + wire.ErrorSuffix, wire.TypeError, wire.TypeWatchResync, wire.TypeDisconnect:
		return fmt.Errorf("%s: %s", e.Type, e.Payload)
	}
	return nil
}

func (w *Watcher) event(ev wire.Event, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ev.WatchID == "pods" {
		var p api.Pod
		if err := json.Unmarshal(ev.Object, &p); err != nil {
			return err
		}
		if ev.Event == wire.EventDelete {
			delete(w.pods, p.ID)
			w.gone[p.ID] = now
		} else {
			w.pods[p.ID] = p
			w.first(p.ID, string(p.Status), now)
		}
	} else {
		var n api.Node
		if err := json.Unmarshal(ev.Object, &n); err != nil {
			return err
		}
		if ev.Event == wire.EventDelete {
			delete(w.nodes, n.ID)
		} else {
			w.nodes[n.ID] = n
			w.first(n.ID, string(n.Status), now)
		}
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

func (w *Watcher) first(id, status string, now time.Time) {
	key := id + "/" + status
	if _, ok := w.seen[key]; !ok {
		w.seen[key] = now
	}
}

// FirstSeen tells when the watch first saw an object in a status; the zero time
// when it did not.
func (w *Watcher) FirstSeen(id, status string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[id+"/"+status]
}

// WaitPod waits until a pod meets the condition.
func (w *Watcher) WaitPod(ctx context.Context, id, what string, ok func(api.Pod) bool) (api.Pod, error) {
	var last api.Pod
	err := w.wait(ctx, "pod "+id+" "+what, func() bool {
		p, there := w.pods[id]
		last = p
		return there && ok(p)
	})
	if err != nil {
		err = fmt.Errorf("%w; it is %s (%s: %s), restarts %d", err, last.Status, last.Reason, last.StatusMessage, last.Restarts)
	}
	return last, err
}

// WaitNode waits until a node of that name meets the condition.
func (w *Watcher) WaitNode(ctx context.Context, name, what string, ok func(api.Node) bool) (api.Node, error) {
	var last api.Node
	err := w.wait(ctx, "node "+name+" "+what, func() bool {
		for _, n := range w.nodes {
			if n.Name == name {
				last = n
				return ok(n)
			}
		}
		return false
	})
	if err != nil {
		err = fmt.Errorf("%w; it is %s", err, last.Status)
	}
	return last, err
}

// Wait waits until the pods seen meet the condition.
func (w *Watcher) Wait(ctx context.Context, what string, ok func(pods map[string]api.Pod) bool) error {
	return w.wait(ctx, what, func() bool { return ok(w.pods) })
}

func (w *Watcher) wait(ctx context.Context, what string, ok func() bool) error {
	for {
		w.mu.Lock()
		done, changed, err := ok(), w.changed, w.err
		w.mu.Unlock()
		if done {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for %s: watch ended: %w", what, err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}
