package harness

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/shared/wire"
)

// Mangler stands between agents and servers and reads WebSocket messages: it can send
// them twice, out of order and late, which no network does to TCP, but what a retry
// or a queue in between may.
type Mangler struct {
	URL string

	to       string
	server   *http.Server
	listener net.Listener
	done     chan struct{}

	mu       sync.Mutex
	random   *rand.Rand
	on       bool
	counts   map[string]int
	withheld map[string]chan struct{} // by type; closed when one was held back, nil from then on
}

// NewMangler listens until Close and passes on to the servers at url; seed decides
// what becomes of which message.
func NewMangler(ctx context.Context, url string, seed uint64) (*Mangler, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &Mangler{
		URL: "http://" + l.Addr().String(), to: "ws" + strings.TrimPrefix(url, "http"), listener: l, done: make(chan struct{}),
		random: rand.New(rand.NewPCG(seed, 0)), counts: map[string]int{}, //nolint:gosec // to be repeatable is the point
	}
	m.server = &http.Server{Handler: m, ReadHeaderTimeout: time.Second}
	go func() {
		defer close(m.done)
		_ = m.server.Serve(l)
	}()
	return m, nil
}

// Close ends the mangler; connections end with their peers.
func (m *Mangler) Close() {
	_ = m.server.Close()
	<-m.done
}

// Mangle switches the faults on or off.
func (m *Mangler) Mangle(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on = on
}

// Counts tells how many messages were sent twice, swapped and delayed.
func (m *Mangler) Counts() (twice, swapped, late int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts["twice"], m.counts["swapped"], m.counts["late"]
}

// Withhold passes no message of this type on any more; the channel closes when there was
// one.
func (m *Mangler) Withhold(typ string) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	came := make(chan struct{})
	if m.withheld == nil {
		m.withheld = map[string]chan struct{}{}
	}
	m.withheld[typ] = came
	return came
}

// withholds reports whether a message is not to be passed on.
func (m *Mangler) withholds(frame []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.withheld) == 0 {
		return false
	}
	var e wire.Envelope
	if json.Unmarshal(frame, &e) != nil {
		return false
	}
	came, ok := m.withheld[e.Type]
	if came != nil {
		close(came)
		m.withheld[e.Type] = nil
	}
	return ok
}

// ServeHTTP passes one connection on.
func (m *Mangler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	far, resp, err := websocket.Dial(r.Context(), m.to+r.URL.Path, &websocket.DialOptions{
		Subprotocols: []string{wire.Subprotocol}, HTTPHeader: http.Header{"Authorization": r.Header.Values("Authorization")},
	})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		status := http.StatusBadGateway
		if resp != nil && resp.StatusCode >= http.StatusBadRequest {
			status = resp.StatusCode
		}
		http.Error(w, "no server", status)
		return
	}
	defer func() { _ = far.CloseNow() }()
	near, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return
	}
	defer func() { _ = near.CloseNow() }()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var ways sync.WaitGroup
	ways.Go(func() { defer cancel(); m.pass(ctx, far, near) })
	ways.Go(func() { defer cancel(); m.pass(ctx, near, far) })
	ways.Wait()
}

// lateBy is how long a late message is held up, and all behind it.
const lateBy = 300 * time.Millisecond

func (m *Mangler) pass(ctx context.Context, to, from *websocket.Conn) {
	from.SetReadLimit(wire.MaxMessage)
	frames := make(chan []byte)
	go func() {
		defer close(frames)
		for {
			_, frame, err := from.Read(ctx)
			if err != nil {
				return
			}
			select {
			case frames <- frame:
			case <-ctx.Done():
				return
			}
		}
	}()
	for frame := range frames {
		if m.withholds(frame) {
			continue
		}
		for _, f := range m.fate(ctx, frame, frames) {
			if to.Write(ctx, websocket.MessageText, f) != nil {
				return
			}
		}
	}
}

// fate gives what is sent in place of a message.
func (m *Mangler) fate(ctx context.Context, frame []byte, more <-chan []byte) [][]byte {
	what := m.draw()
	wait := time.NewTimer(lateBy)
	defer wait.Stop()
	switch what {
	case "twice":
		return [][]byte{frame, frame}
	case "swapped":
		select {
		case next, ok := <-more:
			if ok {
				return [][]byte{next, frame}
			}
		case <-wait.C: // none follows
		case <-ctx.Done():
		}
	case "late":
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	return [][]byte{frame}
}

func (m *Mangler) draw() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.on {
		return ""
	}
	what := []string{"", "", "", "twice", "swapped", "late"}[m.random.IntN(6)]
	m.counts[what]++
	return what
}
