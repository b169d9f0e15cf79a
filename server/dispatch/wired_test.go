package dispatch_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
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

// wired is a dispatcher on wires, for time that a bubble of synctest owns.
type wired struct {
	store *store.Store
	run   func() // routes changes; nothing is routed before
	http  *http.Client
}

func newWired(t *testing.T, db *fakeDB) *wired {
	t.Helper()
	st := store.New()
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
	t.Cleanup(func() {
		cancel()
		_ = srv.Close()
		wg.Wait()
		client.CloseIdleConnections()
	})
	return &wired{store: st, run: func() { wg.Go(func() { _ = d.Run(ctx) }) }, http: client}
}

// dial gives the other end of a connection with a token.
func (w *wired) dial(t *testing.T, token string, change ...func(*websocket.DialOptions)) *websocket.Conn {
	t.Helper()
	o := &websocket.DialOptions{HTTPClient: w.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}, Subprotocols: []string{wire.Subprotocol}}
	for _, f := range change {
		f(o)
	}
	conn, _, err := websocket.Dial(t.Context(), "ws://stark/ws", o) //nolint:bodyclose // of an upgrade there is none
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}
