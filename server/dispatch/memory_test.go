package dispatch_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// manyDB knows as many nodes as are asked for: the credential is the id.
type manyDB struct{ *fakeDB }

func (manyDB) NodeByCredential(_ context.Context, secret string) (dispatch.Credential, error) {
	id := strings.TrimPrefix(secret, api.NodeCredentialPrefix)
	return dispatch.Credential{ID: id, NodeID: id}, nil
}

func (manyDB) RegisterNode(_ context.Context, r dispatch.Registrar, req api.RegisterNodeRequest, _ dispatch.Meta) (dispatch.Registration, error) {
	return dispatch.Registration{Node: api.Node{ID: r.NodeID, Name: req.Name, Status: api.NodeOnline}, CredentialID: r.CredentialID}, nil
}

func (manyDB) RenewLeases(context.Context, []string, []string) ([]string, error) { return nil, nil }

func (manyDB) SetNodeStatus(context.Context, string, string, api.NodeStatus) error { return nil }

// BenchmarkConnectedNode tells what the server's side of a connection holds while its
// node has nothing to say: bytes of the heap, of the stacks, and goroutines. The other
// side is a bare socket.
func BenchmarkConnectedNode(b *testing.B) {
	const nodes = 1000
	st := store.New()
	st.Apply(store.Batch{Reset: true, Cursor: "1"})
	d := dispatch.New(dispatch.Deps{
		DB: manyDB{newFakeDB()}, Store: st, Verifier: &fakeVerifier{}, Signer: fakeSigner{}, Logger: loggingtest.New(b).Logger,
	})
	connectionsOf(b, d, "node", nodes, func(address string, i int) net.Conn { return bareNode(b, address, fmt.Sprintf("n%d", i)) })
}

// connectionsOf reports what each of so many connections takes.
func connectionsOf(b *testing.B, d *dispatch.Dispatcher, what string, n int, connect func(address string, i int) net.Conn) {
	b.Helper()
	srv := httptest.NewServer(d)
	defer srv.Close()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go func() { _ = d.Run(ctx) }()
	for b.Loop() {
		before, routines := held(), runtime.NumGoroutine()
		conns := make([]net.Conn, n)
		for i := range conns {
			conns[i] = connect(srv.Listener.Addr().String(), i)
		}
		after := held()
		each := float64(n)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/each, "heap-B/"+what)
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/each, "stack-B/"+what)
		b.ReportMetric(float64(runtime.NumGoroutine()-routines)/each, "goroutines/"+what)
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// BenchmarkIdleWatcher tells the same of a watcher of all pods, of which there are as many
// as in the name, and to whom nothing happens.
func BenchmarkIdleWatcher(b *testing.B) {
	for _, pods := range []int{1, 2000} {
		b.Run(fmt.Sprintf("pods=%d", pods), func(b *testing.B) { idleWatchers(b, pods) })
	}
}

func idleWatchers(b *testing.B, pods int) {
	b.Helper()
	const watchers = 100
	st := store.New()
	all := store.Batch{Reset: true, Cursor: "1"}
	for i := range pods {
		all.Pods.Put = append(all.Pods.Put, api.Pod{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i)})
	}
	st.Apply(all)
	d := dispatch.New(dispatch.Deps{
		DB: newFakeDB(), Store: st, Verifier: &fakeVerifier{}, Signer: fakeSigner{}, Logger: loggingtest.New(b).Logger,
	})
	connectionsOf(b, d, "watcher", watchers, func(address string, _ int) net.Conn { return bareWatcher(b, address) })
}

// bareWatcher opens a watch by hand and reads what exists.
func bareWatcher(b *testing.B, address string) net.Conn {
	b.Helper()
	c, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	head := strings.Replace(handshakeOf(address, ""), api.NodeCredentialPrefix, "token admin", 1)
	payload := json.RawMessage(`{"watchId":"w","kind":"pods"}`)
	if _, err := io.WriteString(c, head+masked(b, wire.Envelope{Type: wire.TypeWatch, CorrelationID: "w", Payload: payload})); err != nil {
		b.Fatal(err)
	}
	part, last := make([]byte, 64<<10), ""
	for !strings.Contains(last, `"synced":true`) {
		n, err := c.Read(part)
		if err != nil {
			b.Fatalf("%v after %s", err, last)
		}
		last = last[max(0, len(last)-32):] + string(part[:n])
	}
	return c
}

func held() runtime.MemStats {
	for range 4 { // stacks shrink by a half each time
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m
}

func handshakeOf(host, credential string) string {
	return "GET /ws HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + wire.Subprotocol +
		"\r\nAuthorization: Bearer " + api.NodeCredentialPrefix + credential + "\r\n\r\n"
}

// masked gives a text frame of a client whose mask changes nothing.
func masked(tb testing.TB, e wire.Envelope) string {
	tb.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	head := binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(len(text))) //nolint:gosec // all are short
	return string(append(append(head, 0, 0, 0, 0), text...))
}

// bareNode registers a node by hand and leaves it alone.
func bareNode(b *testing.B, address, id string) net.Conn {
	b.Helper()
	c, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	register := aRegister()
	register.Name = id
	payload, err := json.Marshal(register)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.WriteString(c, handshakeOf(address, id)+masked(b, wire.Envelope{Type: wire.TypeRegister, CorrelationID: "r", Payload: payload})); err != nil {
		b.Fatal(err)
	}
	var seen strings.Builder
	part := make([]byte, 512)
	for !strings.Contains(seen.String(), wire.TypeRunsSet) {
		n, err := c.Read(part)
		if err != nil {
			b.Fatalf("%v after %s", err, seen.String())
		}
		seen.Write(part[:n])
	}
	return c
}

// TestFirstWordsBesideTheHandshake: what a peer has sent before it was let in is read.
func TestFirstWordsBesideTheHandshake(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// Three pings, of which one has more bytes than the connection's buffer.
	words := handshakeOf("x", "good")
	for _, size := range []int{1, 3000, 1} {
		words += masked(t, wire.Envelope{Type: wire.TypePing, CorrelationID: "p", Payload: json.RawMessage(`"` + strings.Repeat("p", size) + `"`)})
	}
	if _, err := io.WriteString(c, words); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	part := make([]byte, 4096)
	for strings.Count(seen.String(), `"pong"`) < 3 {
		n, err := c.Read(part)
		if err != nil {
			t.Fatalf("%v after %q", err, seen.String())
		}
		seen.Write(part[:n])
	}
}
