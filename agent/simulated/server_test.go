package simulated_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	patience  = 2 * time.Minute // it tells a test that hangs, and promises no speed
	joinToken = "join"
)

// plane is a control plane that knows no more than a fleet needs.
type plane struct {
	url    string
	wanted []wire.Assignment // of every node

	mu       sync.Mutex
	online   map[string]bool
	arrivals int
	beats    map[string]int
	tokens   map[string]int                    // shown in handshakes
	reports  map[api.RunStatus]map[string]bool // who told of it: a report may come twice
	left     map[string]bool
	changed  chan struct{}
}

func newPlane(t *testing.T, wanted ...wire.Assignment) *plane {
	t.Helper()
	p := &plane{
		wanted: wanted, online: map[string]bool{}, beats: map[string]int{}, tokens: map[string]int{},
		reports: map[api.RunStatus]map[string]bool{}, left: map[string]bool{}, changed: make(chan struct{}),
	}
	srv := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

func (p *plane) serve(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	name, known := strings.CutPrefix(token, "credential of ")
	p.change(func() { p.tokens[token]++ })
	if token != joinToken && !known {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return
	}
	ctx := context.WithoutCancel(r.Context())
	send := func(e wire.Envelope, payload any) {
		e.Payload, _ = json.Marshal(payload)
		frame, _ := json.Marshal(e)
		_ = c.Write(ctx, websocket.MessageText, frame) // a lost agent is what some tests are about
	}
	send(wire.Envelope{Type: wire.TypeConnected}, wire.Connected{ConnectionID: "c"})
	defer func() { p.change(func() { delete(p.online, name) }) }()
	for {
		_, frame, err := c.Read(ctx)
		if err != nil {
			return
		}
		var e wire.Envelope
		if json.Unmarshal(frame, &e) != nil {
			return
		}
		answer := func(payload any) {
			send(wire.Envelope{Type: e.Type + wire.AckSuffix, CorrelationID: e.CorrelationID}, payload)
		}
		p.handle(e, &name, answer, send)
	}
}

func (p *plane) handle(e wire.Envelope, name *string, answer func(any), send func(wire.Envelope, any)) {
	switch e.Type {
	case wire.TypeRegister:
		var r wire.Register
		_ = json.Unmarshal(e.Payload, &r)
		*name = r.Name
		answer(wire.Registered{Node: api.Node{ID: "id-" + r.Name, Name: r.Name}, Credential: "credential of " + r.Name, HeartbeatIntervalMS: 3600_000})
		send(wire.Envelope{Type: wire.TypeRunsSet, Seq: 1}, wire.RunsSet{Runs: p.wanted})
		p.change(func() { p.online[r.Name] = true; p.arrivals++ })
	case wire.TypeHeartbeat:
		answer(wire.HeartbeatAck{NodeID: "id-" + *name, HeartbeatIntervalMS: 3600_000})
		p.change(func() { p.beats[*name]++ })
	case wire.TypeRunReport:
		var in wire.RunReports
		_ = json.Unmarshal(e.Payload, &in)
		var ack wire.RunReportsAck
		p.change(func() {
			for _, r := range in.Reports {
				ack.Accepted = append(ack.Accepted, r.RunKey)
				if p.reports[r.Status] == nil {
					p.reports[r.Status] = map[string]bool{}
				}
				p.reports[r.Status][*name] = true
			}
		})
		answer(ack)
	case wire.TypeUnregister:
		p.change(func() { p.left[*name] = true })
		answer(struct{}{})
	}
}

func (p *plane) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// await waits until f, called under the lock, is true.
func (p *plane) await(t *testing.T, what string, f func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		ok, changed := f(), p.changed
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Fatalf("waited in vain for %s; online %v, reports %v", what, p.online, p.reports)
		}
	}
}
