package client

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	maxWatchLine = 4 << 20          // bytes of one event
	watchIdle    = 45 * time.Second // a server tells at least every 15 s how far it is
	watchRetry   = 100 * time.Millisecond
	watchPause   = 5 * time.Second // the longest between two attempts
)

// Change is one step of a watch. Either Synced is set, once, when everything that
// existed has been told, or ID is.
type Change[T any] struct {
	ID      string
	Object  T // of a deleted one the last state that was told
	Deleted bool
	Synced  bool
}

// WatchPods tells of every pod that the query matches, and of every change of them,
// without a gap: after a lost connection it goes on where it was, on any server. What
// the first attempt fails with ends it; later it tries again until ctx ends, unless
// the server refuses. Page and page size of the query do not count.
func (c *Client) WatchPods(ctx context.Context, q api.PodQuery) iter.Seq2[Change[api.Pod], error] {
	v := url.Values{}
	set(v, "namespace", q.Namespace)
	set(v, "packId", q.PackID)
	set(v, "packName", q.PackName)
	set(v, "nodeId", q.NodeID)
	set(v, "status", string(q.Status))
	set(v, "labelSelector", q.LabelSelector)
	return watch[api.Pod](ctx, c, []string{"api", "pods"}, v)
}

// WatchPod is WatchPods for one pod. One that is not there is NotFound.
func (c *Client) WatchPod(ctx context.Context, id string) iter.Seq2[Change[api.Pod], error] {
	return watch[api.Pod](ctx, c, []string{"api", "pods", id}, url.Values{})
}

// WatchNodes is WatchPods for nodes.
func (c *Client) WatchNodes(ctx context.Context, q api.NodeQuery) iter.Seq2[Change[api.Node], error] {
	v := url.Values{}
	set(v, "runtimeType", string(q.RuntimeType))
	set(v, "status", string(q.Status))
	set(v, "search", q.Search)
	set(v, "labelSelector", q.LabelSelector)
	return watch[api.Node](ctx, c, []string{"api", "nodes"}, v)
}

// WatchNode is WatchPods for one node. One that is not there is NotFound.
func (c *Client) WatchNode(ctx context.Context, id string) iter.Seq2[Change[api.Node], error] {
	return watch[api.Node](ctx, c, []string{"api", "nodes", id}, url.Values{})
}

func watch[T any](ctx context.Context, c *Client, path []string, query url.Values) iter.Seq2[Change[T], error] {
	return func(yield func(Change[T], error) bool) {
		w := &watcher[T]{c: c, path: path, query: query, known: map[string]told[T]{}, yield: yield}
		w.run(ctx)
	}
}

// told is an object as the reader knows it, and the digest of what the server sent: an
// object may come again after a lost connection, and is then told once all the same.
type told[T any] struct {
	object T
	digest [sha256.Size]byte
}

// watcher keeps what it has told, so that a fresh start tells the difference only.
type watcher[T any] struct {
	c      *Client
	path   []string
	query  url.Values
	cursor string
	known  map[string]told[T]
	fresh  map[string]struct{} // told since a start without a cursor, nil behind it
	synced bool                // has been told
	over   bool                // the reader wants no more
	yield  func(Change[T], error) bool
}

func (w *watcher[T]) run(ctx context.Context) {
	began, pause := false, watchRetry
	for {
		heard, err := w.stream(ctx)
		if errors.Is(err, errSilent) {
			err = fault.New(fault.Unavailable, "%s has said nothing for %s", w.c.base.Host, watchIdle)
		}
		switch {
		case w.over:
			return
		case ctx.Err() != nil:
			w.yield(Change[T]{}, ctx.Err())
			return
		case fault.CodeOf(err) == fault.Gone && w.cursor != "":
			w.cursor = ""
			continue
		case fault.CodeOf(err) == fault.NotFound && began: // the only object has gone meanwhile
			for id := range w.known {
				w.remove(id)
			}
			return
		case !passes(err) || !began && !heard:
			w.yield(Change[T]{}, err)
			return
		}
		if began = began || heard; heard {
			pause = watchRetry
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)): //nolint:gosec // spreads load, guards nothing
		case <-ctx.Done():
			w.yield(Change[T]{}, ctx.Err())
			return
		}
		pause = min(2*pause, watchPause)
	}
}

// passes reports whether the same call may go well later.
func passes(err error) bool {
	switch fault.CodeOf(err) {
	case fault.Unavailable, fault.Timeout, fault.RateLimited, fault.Internal, fault.TokenExpired:
		return true
	default:
		return err == nil
	}
}

// stream reads one connection to its end and reports whether anything came.
func (w *watcher[T]) stream(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		if errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent
		}
		cancel(nil)
	}()
	silence := time.AfterFunc(watchIdle, func() { cancel(errSilent) })
	defer silence.Stop()
	v := url.Values{"watch": {"true"}}
	maps.Copy(v, w.query)
	set(v, "since", w.cursor)
	if w.cursor == "" {
		w.fresh = map[string]struct{}{}
	}
	resp, err := w.c.send(ctx, call{method: http.MethodGet, path: w.path, query: v, noTimeout: true})
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }() // the reader has what it wanted
	scan := bufio.NewScanner(resp.Body)
	scan.Buffer(make([]byte, 0, 64<<10), maxWatchLine)
	for scan.Scan() {
		silence.Reset(watchIdle)
		var e wire.WatchEvent
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			return heard, fault.Wrap(err, fault.Validation, "%s sent an event that cannot be read", w.c.base.Host)
		}
		if e.Error != nil {
			return heard, e.Error.Fault()
		}
		heard = true
		if err := w.take(e); err != nil || w.over {
			return heard, err
		}
	}
	switch err := scan.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return heard, fault.New(fault.PayloadTooLarge, "an event is longer than %d bytes", maxWatchLine)
	case err == nil:
		return heard, fault.FromNetwork(io.ErrUnexpectedEOF, w.c.base.Host)
	default:
		return heard, fault.FromNetwork(err, w.c.base.Host)
	}
}

var errSilent = errors.New("the server has said nothing for too long")

// take tells the reader of one event.
func (w *watcher[T]) take(e wire.WatchEvent) error {
	if e.Event == wire.EventPut || e.Event == wire.EventDelete {
		if err := w.object(e); err != nil {
			return err
		}
	}
	if e.Synced {
		w.sync()
	}
	if e.Cursor != "" {
		w.cursor = e.Cursor
	}
	return nil
}

func (w *watcher[T]) object(e wire.WatchEvent) error {
	var named struct {
		ID string `json:"id"`
	}
	var object T
	if err := errors.Join(json.Unmarshal(e.Object, &named), json.Unmarshal(e.Object, &object)); err != nil {
		return fault.Wrap(err, fault.Validation, "%s sent an object that cannot be read", w.c.base.Host)
	}
	if e.Event == wire.EventDelete {
		w.remove(named.ID)
		return nil
	}
	now := told[T]{object: object, digest: sha256.Sum256(e.Object)}
	before, twice := w.known[named.ID]
	w.known[named.ID] = now
	if w.fresh != nil {
		w.fresh[named.ID] = struct{}{}
	}
	if twice && before.digest == now.digest {
		return nil
	}
	w.over = !w.yield(Change[T]{ID: named.ID, Object: object}, nil)
	return nil
}

func (w *watcher[T]) remove(id string) {
	last, known := w.known[id]
	delete(w.known, id)
	if known {
		w.over = !w.yield(Change[T]{ID: id, Object: last.object, Deleted: true}, nil)
	}
}

// sync ends a fresh start: what it did not name has gone in the meantime.
func (w *watcher[T]) sync() {
	if w.fresh != nil {
		for id := range w.known {
			if _, here := w.fresh[id]; !here && !w.over {
				w.remove(id)
			}
		}
		w.fresh = nil
	}
	if !w.synced && !w.over {
		w.synced = true
		w.over = !w.yield(Change[T]{Synced: true}, nil)
	}
}
