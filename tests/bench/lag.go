package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/shared/wire"
	"github.com/stark-orchestrator/stark/tests/harness"
)

const (
	lagRate     = 1000 // changes a second, a commit each
	lagWriters  = 4
	lagWatchers = 10
	lagPods     = 500 // each is changed every half second, so that hardly a change hides behind the next
)

// lag measures how far watchers are behind the commits of somebody else than the
// servers, at the pace of a busy cluster.
func (b *bench) lag(ctx context.Context, c *harness.Cluster) error {
	ids, err := endedPods(ctx, c.Stack.DBURL, c.Session.User.ID)
	if err != nil {
		return err
	}
	l := &lagRun{committed: make([]time.Time, lagRate*b.times(5, 10))}
	var end func()
	l.watchers, end, err = openWatchers(ctx, c, lagWatchers, "")
	defer end()
	if err != nil {
		return err
	}
	took, err := l.run(ctx, c.Stack.DBURL, ids)
	if err != nil {
		return err
	}
	samples, hidden := l.samples()
	b.latencies("watch.lag", fmt.Sprintf("commit -> watcher's socket, %.0f commits a second, %d watchers, %d samples seen through a later change",
		float64(len(l.committed))/took.Seconds(), lagWatchers, hidden), samples)
	return nil
}

// endedPods gives pods that nothing but this bench touches any more, and writes them where
// there are none.
func endedPods(ctx context.Context, dbURL, owner string) ([]string, error) {
	conn, err := pgx.Connect(ctx, dbURL)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, "select id::text from public.pods where pack_id = '00000000-0000-4000-8000-000000000001'")
	if err != nil {
		return nil, err
	}
	if ids, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(ids) > 0 {
		return ids, err
	}
	if _, err := conn.Exec(ctx, `insert into public.packs (id, name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size)
		values ('00000000-0000-4000-8000-000000000001', 'lag', '1.0.0', 'node', $1, 'ready', repeat('a', 64), 1)`, owner); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `insert into public.pods (pack_id, created_by)
		select '00000000-0000-4000-8000-000000000001', $1 from generate_series(1, $2)`, owner, lagPods); err != nil {
		return nil, err
	}
	rows, err = conn.Query(ctx, "update public.pods set stop_requested_at = now() returning id::text")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// lagRun is one measurement: change n is made to pod n modulo their number.
type lagRun struct {
	committed []time.Time // of change n; each is written by one writer and read behind them all
	watchers  []*lagWatcher
}

// run makes all changes while the watchers read, and says how long that took; it waits until
// each watcher has them.
func (l *lagRun) run(ctx context.Context, dbURL string, ids []string) (took time.Duration, err error) {
	group, running := errgroup.WithContext(ctx)
	watching, stop := context.WithCancel(running)
	defer stop()
	for _, w := range l.watchers {
		group.Go(func() error { return w.read(watching) })
	}
	began := time.Now()
	writers, writing := errgroup.WithContext(running)
	for i := range lagWriters {
		writers.Go(func() error { return l.write(writing, dbURL, ids, i, began) })
	}
	err = writers.Wait()
	took = time.Since(began)
	if err == nil {
		err = l.arrived(ctx)
	}
	stop()
	return took, errors.Join(err, group.Wait())
}

// write makes every fourth change, at its time or as soon after it as the database lets it.
func (l *lagRun) write(ctx context.Context, dbURL string, ids []string, first int, began time.Time) error {
	conn, err := pgx.Connect(ctx, dbURL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// Commits that notify cannot share a flush, so a slow disk would set the pace.
	if _, err := conn.Exec(ctx, "set synchronous_commit = off"); err != nil {
		return err
	}
	for n := first; n < len(l.committed); n += lagWriters {
		select {
		case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / lagRate))):
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := conn.Exec(ctx, "update public.pods set annotations = jsonb_build_object('lag', $2::text) where id = $1", ids[n%len(ids)], strconv.Itoa(n)); err != nil {
			return err
		}
		l.committed[n] = time.Now()
	}
	return nil
}

// arrived waits until every watcher has the last change of every pod.
func (l *lagRun) arrived(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, waitLimit)
	defer stop()
	for _, w := range l.watchers {
		for !w.has(len(l.committed)) {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return errors.New("a watcher does not get all changes")
			}
		}
	}
	return nil
}

// samples compares. A change that a later one of the same pod hides arrives with that.
func (l *lagRun) samples() (all []time.Duration, hidden int) {
	for _, w := range l.watchers {
		for pod := range lagPods {
			var at time.Time
			for n := len(l.committed) - lagPods + pod; n >= 0; n -= lagPods {
				if seen, ok := w.seen[n]; ok {
					at = seen
				} else {
					hidden++
				}
				all = append(all, max(at.Sub(l.committed[n]), 0))
			}
		}
	}
	return all, hidden
}

// lagWatcher notes when which change came; it reads no more of an event than that, so
// that ten of them do not measure themselves.
type lagWatcher struct {
	conn   *websocket.Conn
	frames int // that told of changes; its reader's until it has ended
	mu     sync.Mutex
	seen   map[int]time.Time
}

// watchLag opens a watch of all pods, which goes on from a cursor if there is one.
func watchLag(ctx context.Context, url, token, since string) (*lagWatcher, error) {
	ctx, stop := context.WithTimeout(ctx, waitLimit)
	defer stop()
	conn, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		Subprotocols: []string{wire.Subprotocol}, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(wire.MaxMessage)
	payload, err := json.Marshal(wire.Watch{WatchID: "lag", Kind: "pods", Since: since})
	if err != nil {
		return nil, err
	}
	frame, err := json.Marshal(wire.Envelope{Type: wire.TypeWatch, Payload: payload, CorrelationID: "lag"})
	if err != nil {
		return nil, err
	}
	if err := conn.Write(ctx, websocket.MessageText, frame); err != nil {
		return nil, err
	}
	w := &lagWatcher{conn: conn, seen: map[int]time.Time{}}
	for {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return nil, err
		}
		if bytes.Contains(frame, []byte(`"synced":true`)) {
			return w, nil
		}
	}
}

// read notes arrivals until ctx ends.
func (w *lagWatcher) read(ctx context.Context) error {
	defer func() { _ = w.conn.CloseNow() }()
	for {
		_, frame, err := w.conn.Read(ctx)
		now := time.Now()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if bytes.Contains(frame, []byte(`"type":"`+wire.TypeWatchResync+`"`)) {
			return errors.New("a watcher fell behind")
		}
		if n, ok := changeOf(frame); ok {
			w.frames++
			w.mu.Lock()
			w.seen[n] = now
			w.mu.Unlock()
		}
	}
}

func (w *lagWatcher) has(changes int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := changes - lagPods; n < changes; n++ {
		if _, ok := w.seen[n]; !ok {
			return false
		}
	}
	return true
}

// changeOf finds the number of a change in an event.
func changeOf(frame []byte) (int, bool) {
	_, rest, ok := bytes.Cut(frame, []byte(`"annotations":{"lag":"`))
	if !ok {
		return 0, false
	}
	digits, _, ok := bytes.Cut(rest, []byte(`"`))
	n, err := strconv.Atoi(string(digits))
	return n, ok && err == nil
}
