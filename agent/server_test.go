package agent_test

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

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/agent/filestate"
	"github.com/stark-orchestrator/stark/agent/wsconn"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	patience   = 2 * time.Minute // it tells a test that hangs, and promises no speed
	joinToken  = "stark_join_test"
	credential = "stark_node_test"
)

// server is a scripted control plane on a real socket.
type server struct {
	t   *testing.T
	url string

	mu             sync.Mutex
	wanted         []wire.Assignment
	reports        []wire.RunReport
	registered     []wire.Register
	tokens         []string
	acks           []uint64
	resyncs        int
	heartbeats     int
	left           bool
	leaving        string // the question of a node that leaves, not answered yet
	beatBeforeLeft bool   // a leave is answered behind the next heartbeat, which finds no node
	logs           []api.LogLine
	logEnds        []wire.LogsEnd
	conn           *websocket.Conn
	seq            uint64
	silent         bool   // answers nothing any more
	keepMum        bool   // takes reports without an answer
	lateAuth       bool   // asks for the token after the handshake
	poison         string // a pod whose reports cannot be read
	accept         func(token string) bool
	answer         func(reg wire.Register) *wire.Registered // to a registration, called under the lock; nil closes the connection
	changed        chan struct{}
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, changed: make(chan struct{}), accept: func(tok string) bool { return tok == joinToken || tok == credential }}
	srv := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	s.tokens = append(s.tokens, token)
	ok := s.accept(token)
	s.broadcast()
	s.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return
	}
	c.SetReadLimit(wire.MaxMessage)
	ctx := context.Background()
	s.mu.Lock()
	s.conn, s.seq = c, 0
	s.mu.Unlock()
	s.mu.Lock()
	late := s.lateAuth
	s.mu.Unlock()
	s.write(ctx, c, wire.Envelope{Type: wire.TypeConnected}, wire.Connected{ConnectionID: "c", RequiresAuth: late})
	for {
		_, frame, err := c.Read(ctx)
		if err != nil {
			return
		}
		var e wire.Envelope
		if err := json.Unmarshal(frame, &e); err != nil {
			s.t.Errorf("frame %s: %v", frame, err)
			return
		}
		s.handle(ctx, c, e)
	}
}

func (s *server) handle(ctx context.Context, c *websocket.Conn, e wire.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.broadcast()
	if s.silent {
		return
	}
	answer := func(payload any) {
		s.write(ctx, c, wire.Envelope{Type: e.Type + wire.AckSuffix, CorrelationID: e.CorrelationID}, payload)
	}
	refuse := func(code string) {
		s.write(ctx, c, wire.Envelope{Type: e.Type + wire.ErrorSuffix, CorrelationID: e.CorrelationID}, wire.Failure{Code: code, Message: "no"})
	}
	switch e.Type {
	case wire.TypeAuthenticate:
		var a wire.Authenticate
		_ = json.Unmarshal(e.Payload, &a)
		s.tokens = append(s.tokens, "late "+a.Token)
		if a.Token != joinToken {
			refuse("TOKEN_INVALID")
			return
		}
		s.write(ctx, c, wire.Envelope{Type: wire.TypeAuthenticated, CorrelationID: e.CorrelationID}, wire.Authenticated{})
	case wire.TypeRegister:
		var reg wire.Register
		_ = json.Unmarshal(e.Payload, &reg)
		s.registered = append(s.registered, reg)
		if s.answer != nil {
			ack := s.answer(reg)
			if ack == nil {
				_ = c.CloseNow()
				return
			}
			answer(ack)
			s.sendSet(ctx, c)
			return
		}
		answer(wire.Registered{Node: api.Node{ID: "node-1", Name: reg.Name}, Credential: credential, HeartbeatIntervalMS: 50})
		s.sendSet(ctx, c)
	case wire.TypeHeartbeat:
		s.heartbeats++
		if s.leaving != "" {
			refuse("NOT_FOUND")
			s.write(ctx, c, wire.Envelope{Type: wire.TypeUnregister + wire.AckSuffix, CorrelationID: s.leaving}, struct{}{})
			return
		}
		answer(wire.HeartbeatAck{NodeID: "node-1"})
	case wire.TypeRunReport:
		var in wire.RunReports
		_ = json.Unmarshal(e.Payload, &in)
		var ack wire.RunReportsAck
		for _, r := range in.Reports {
			if r.PodID == s.poison {
				refuse("VALIDATION_ERROR")
				return
			}
		}
		for _, r := range in.Reports {
			s.reports = append(s.reports, r)
			ack.Accepted = append(ack.Accepted, r.RunKey)
		}
		if !s.keepMum {
			answer(ack)
		}
	case wire.TypeRunsAck:
		var a wire.RunsAck
		_ = json.Unmarshal(e.Payload, &a)
		s.acks = append(s.acks, a.Seq)
	case wire.TypeRunsResync:
		s.resyncs++
		s.sendSet(ctx, c)
	case wire.TypeUnregister:
		s.left = true
		if s.beatBeforeLeft {
			s.leaving = e.CorrelationID
			return
		}
		answer(struct{}{})
	case wire.TypeLogsChunk:
		var ch wire.LogsChunk
		_ = json.Unmarshal(e.Payload, &ch)
		s.logs = append(s.logs, ch.Lines...)
	case wire.TypeLogsEnd:
		var end wire.LogsEnd
		_ = json.Unmarshal(e.Payload, &end)
		s.logEnds = append(s.logEnds, end)
	}
}

func (s *server) sendSet(ctx context.Context, c *websocket.Conn) {
	s.seq++
	s.write(ctx, c, wire.Envelope{Type: wire.TypeRunsSet, Seq: s.seq}, wire.RunsSet{Runs: s.wanted})
}

func (s *server) write(ctx context.Context, c *websocket.Conn, e wire.Envelope, payload any) {
	e.Payload, _ = json.Marshal(payload)
	frame, _ := json.Marshal(e)
	_ = c.Write(ctx, websocket.MessageText, frame) // a lost agent is what some tests are about
}

func (s *server) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// want replaces an assignment and sends it as an increment behind prev.
func (s *server) want(a wire.Assignment, gap uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.wanted[:0:0]
	for _, w := range s.wanted {
		if w.PodID != a.PodID || w.Incarnation != a.Incarnation {
			kept = append(kept, w)
		}
	}
	s.wanted = append(kept, a)
	if s.conn != nil {
		prev := s.seq + gap
		s.seq = prev + 1
		s.write(context.Background(), s.conn, wire.Envelope{Type: wire.TypeRunsDelta, Seq: s.seq}, wire.RunsDelta{Prev: prev, Put: []wire.Assignment{a}})
	}
}

func (s *server) remove(ref wire.PodRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = nil
	s.seq++
	s.write(context.Background(), s.conn, wire.Envelope{Type: wire.TypeRunsDelta, Seq: s.seq}, wire.RunsDelta{Prev: s.seq - 1, Remove: []wire.PodRef{ref}})
}

func (s *server) send(typ string, payload any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(context.Background(), s.conn, wire.Envelope{Type: typ}, payload)
}

// cut drops the connection without a goodbye.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.CloseNow()
}

func (s *server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// await waits until f, called under the lock, is true.
func (s *server) await(what string, f func() bool) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		ok, changed := f(), s.changed
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("waited in vain for %s; reports: %+v", what, s.reports)
		}
	}
}

// awaitReport waits for a report of a run in a status.
func (s *server) awaitReport(pod string, attempt int, status api.RunStatus) wire.RunReport {
	s.t.Helper()
	var got wire.RunReport
	s.await("report "+string(status), func() bool {
		for _, r := range s.reports {
			if r.PodID == pod && r.Attempt == attempt && r.Status == status {
				got = r
			}
		}
		return got.PodID != ""
	})
	return got
}

// node is an agent under test.
type node struct {
	*agent.Agent
	fake  *executortest.Fake
	stop  func()
	crash func() // ends it like a kill -9 as far as the state on the disk goes
}

// configure makes what an agent needs; the caller or the test's end closes the state.
func configure(t *testing.T, s *server, dir string) (agent.Config, *filestate.State) {
	t.Helper()
	state, err := filestate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return agent.Config{
		URL: s.url, Name: "n1", Token: joinToken, Executor: &executortest.Fake{}, State: state, Dialer: wsconn.Dialer{},
		Logger:  loggingtest.New(t, joinToken).Logger,
		Backoff: agent.Backoff{First: 5 * time.Millisecond, Max: 20 * time.Millisecond, Refused: 20 * time.Millisecond},
		Restart: agent.RestartDelays{First: 5 * time.Millisecond, Max: 20 * time.Millisecond},
	}, state
}

func startNode(t *testing.T, s *server, dir string, change ...func(*agent.Config)) *node {
	t.Helper()
	cfg, state := configure(t, s, dir)
	frozen := &freezer{State: state}
	fake := &executortest.Fake{}
	cfg.Executor, cfg.State = fake, frozen
	for _, f := range change {
		f(&cfg)
	}
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
			if err := state.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	select {
	case <-a.Registered():
	case <-time.After(patience):
		t.Fatal("the node did not register")
	}
	return &node{Agent: a, fake: fake, stop: stop, crash: func() { frozen.freeze(); stop() }}
}

// freezer is a state that a kill -9 leaves as it is.
type freezer struct {
	agent.State
	mu     sync.Mutex
	frozen bool
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = true
}

func (f *freezer) Put(ctx context.Context, key string, value []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen {
		return nil
	}
	return f.State.Put(ctx, key, value)
}

func (f *freezer) Delete(ctx context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen {
		return nil
	}
	return f.State.Delete(ctx, key)
}

func assign(pod string, b executortest.Behaviour, change ...func(*wire.Assignment)) wire.Assignment {
	a := wire.Assignment{
		PodID: pod, Incarnation: 1, Desire: wire.DesireRun,
		Pod: wire.PodSpec{Name: string(b), RestartPolicy: api.RestartOnFailure, GraceSeconds: 5},
	}
	for _, f := range change {
		f(&a)
	}
	return a
}

func desireStop(a wire.Assignment) wire.Assignment {
	a.Desire = wire.DesireStop
	return a
}

func policy(p api.RestartPolicy) func(*wire.Assignment) {
	return func(a *wire.Assignment) { a.Pod.RestartPolicy = p }
}
