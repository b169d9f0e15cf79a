package dispatch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// wires is a listener whose connections have no buffer: what is not read blocks.
type wires struct {
	conns chan net.Conn
	once  sync.Once
	gone  chan struct{}
}

func newWires() *wires { return &wires{conns: make(chan net.Conn), gone: make(chan struct{})} }

// Accept gives the far end of a connection that somebody has dialled.
func (w *wires) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.gone:
		return nil, net.ErrClosed
	}
}

// Close ends the listener.
func (w *wires) Close() error {
	w.once.Do(func() { close(w.gone) })
	return nil
}

// Addr is of no use.
func (*wires) Addr() net.Addr { return &net.UnixAddr{Name: "wires", Net: "unix"} }

func (w *wires) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case w.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wiredRig is a dispatcher on wires, which routes nothing before run is called, and the
// other end of a connection with a token.
func wiredRig(t *testing.T, db *fakeDB, token string) (st *store.Store, conn *websocket.Conn, run func()) {
	t.Helper()
	st = store.New()
	st.Apply(store.Batch{Reset: true, Cursor: "1"})
	d := dispatch.New(dispatch.Deps{
		DB: db, Store: st, Verifier: &fakeVerifier{}, Signer: fakeSigner{}, Logger: loggingtest.New(t).Logger,
	})
	line := newWires()
	srv := &http.Server{Handler: d} //nolint:gosec // its peers are this test
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(line) })
	client := &http.Client{Transport: &http.Transport{DialContext: line.dial}}
	conn, _, err := websocket.Dial(ctx, "ws://stark/ws", &websocket.DialOptions{ //nolint:bodyclose // of an upgrade there is none
		HTTPClient: client, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}, Subprotocols: []string{wire.Subprotocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.CloseNow()
		cancel()
		_ = srv.Close()
		wg.Wait()
		client.CloseIdleConnections()
	})
	return st, conn, func() { wg.Go(func() { _ = d.Run(ctx) }) }
}

// crowdedRig has a watcher of all pods that has read what existed and reads no more.
func crowdedRig(t *testing.T) (*store.Store, *websocket.Conn) {
	t.Helper()
	st, conn, run := wiredRig(t, newFakeDB(), "token admin")
	run()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"watch","payload":{"watchId":"w","kind":"pods"}}`)); err != nil {
		t.Fatal(err)
	}
	until(t, conn, `"synced":true`)
	return st, conn
}

// until reads to the frame that holds a text.
func until(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	for {
		_, frame, err := conn.Read(t.Context())
		if err != nil {
			t.Fatalf("waited for %s: %v", text, err)
		}
		if strings.Contains(string(frame), text) {
			return
		}
	}
}

// A node that registers at a server which has just started is told of its pods when the
// server tells nodes of changes, and not before: else the end of one could be missed.
func TestNoNodeIsServedBeforeChangesAreRouted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newFakeDB()
		var asked atomic.Bool
		db.wanted = func() ([]wire.Assignment, error) {
			asked.Store(true)
			return nil, nil
		}
		_, conn, run := wiredRig(t, db, credential)
		register, err := json.Marshal(aRegister())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"type":"node:register","payload":%s}`, register)); err != nil {
			t.Fatal(err)
		}
		until(t, conn, wire.TypeConnected)
		synctest.Wait()
		if asked.Load() {
			t.Error("the wanted set was read before changes are routed")
		}
		run()
		until(t, conn, wire.TypeRunsSet)
	})
}

// grown is by how many bytes the heap has grown since before.
func grown(before uint64) int64 {
	return int64(heap()) - int64(before) //nolint:gosec // heaps are small
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what a finalizer held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A watcher that reads no more costs the server a bounded number of bytes, however
// much changes and however large it is, and is then disconnected.
func TestASlowReaderCostsLittleAndIsDisconnected(t *testing.T) { //nolint:paralleltest // it weighs the heap
	for _, c := range []struct {
		name                string
		size, changes, pods int
		most                int64 // bytes
	}{
		{name: "many small changes", size: 1 << 10, changes: 60_000, pods: 100, most: 16 << 20},
		{name: "some large changes", size: 200 << 10, changes: 600, pods: 600, most: 12 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, conn := crowdedRig(t)
				text := strings.Repeat("x", c.size)
				annotations := map[string]string{"big": text}
				synctest.Wait()
				before := heap()
				for i := range c.changes {
					p := api.Pod{ID: fmt.Sprintf("pod-%d", i%c.pods), Namespace: "default", Status: api.PodRunning, Annotations: annotations}
					st.Apply(store.Batch{Cursor: fmt.Sprint(i + 2), Pods: store.Changes[api.Pod]{Put: []api.Pod{p}}})
					if i%100 == 0 {
						synctest.Wait() // as much as can be sent is
					}
				}
				synctest.Wait()
				if n := grown(before); n > c.most {
					t.Errorf("%d changes of %d KiB, which nobody reads, hold %d KiB", c.changes, c.size>>10, n>>10)
				}
				time.Sleep(15 * time.Second) // a frame may take 10 s
				var frames int
				for {
					_, _, err := conn.Read(t.Context())
					if err != nil {
						break
					}
					frames++
				}
				if frames >= c.changes {
					t.Errorf("the reader was sent all of %d frames", frames)
				}
			})
		})
	}
}
