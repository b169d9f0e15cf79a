package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const patience = 2 * time.Minute // it tells a test that hangs, and promises no speed

// statusCall is one call of SetNodeStatus.
type statusCall struct {
	node   string
	status api.NodeStatus
}

// fakeDB is a Database with function fields; what is nil does the obvious.
type fakeDB struct {
	storeCheckpoints func(context.Context, []dispatch.NodeCheckpoint) error

	health   func([]dispatch.NodeHealth) error
	register func(r dispatch.Registrar, req api.RegisterNodeRequest) (dispatch.Registration, error)
	answer   func(ctx context.Context) error // what a registration waits for, and its failure
	wanted   func() ([]wire.Assignment, error)
	report   func(node string, rs []wire.RunReport) ([]api.RunKey, []wire.Refusal, error)
	bundle   func(node, pod string) (api.Pack, error)
	roles    func(user string) ([]api.Role, bool, error)
	lost     func(nodes []string) []string
	usable   func(ids []string) []string
	redeem   func(ticket string) (access.Identity, error)
	offline  func(node string)

	confirmed chan string
	statuses  chan statusCall
	leases    chan []string
	reports   chan []wire.RunReport
}

func newFakeDB() *fakeDB {
	return &fakeDB{
		confirmed: make(chan string, 100),
		statuses:  make(chan statusCall, 100), leases: make(chan []string, 100), reports: make(chan []wire.RunReport, 100),
	}
}

const (
	credential = api.NodeCredentialPrefix + "good"
	joinToken  = api.JoinTokenPrefix + "good"
)

func (f *fakeDB) NodeByCredential(_ context.Context, secret string) (dispatch.Credential, error) {
	if secret != credential {
		return dispatch.Credential{}, fault.New(fault.TokenInvalid, "the credential is not valid")
	}
	return dispatch.Credential{ID: "c1", NodeID: "n1"}, nil
}

func (f *fakeDB) ConfirmCredential(_ context.Context, id string) error {
	f.confirmed <- id
	return nil
}

func (f *fakeDB) UsableCredentials(_ context.Context, ids []string) ([]string, error) {
	if f.usable != nil {
		return f.usable(ids), nil
	}
	return ids, nil
}

func (f *fakeDB) RedeemTicket(_ context.Context, ticket string) (access.Identity, error) {
	if f.redeem != nil {
		return f.redeem(ticket)
	}
	return access.Identity{}, fault.New(fault.TokenInvalid, "the ticket is not valid")
}

func (f *fakeDB) JoinTokenValid(_ context.Context, secret string) error {
	if secret != joinToken {
		return fault.New(fault.TokenInvalid, "the join token is not valid")
	}
	return nil
}

func (f *fakeDB) UserRoles(_ context.Context, user string) ([]api.Role, bool, error) {
	if f.roles != nil {
		return f.roles(user)
	}
	return []api.Role{api.Role(user)}, true, nil // in these tests users are named after their role
}

func (f *fakeDB) RegisterNode(ctx context.Context, r dispatch.Registrar, req api.RegisterNodeRequest, _ dispatch.Meta) (dispatch.Registration, error) {
	if f.answer != nil {
		if err := f.answer(ctx); err != nil {
			return dispatch.Registration{}, err
		}
	}
	if f.register != nil {
		return f.register(r, req)
	}
	reg := dispatch.Registration{Node: api.Node{ID: "n1", Name: req.Name, Status: api.NodeOnline}, CredentialID: r.CredentialID}
	if r.NodeID == "" {
		reg.Credential, reg.CredentialID = credential, "c1"
	}
	return reg, nil
}

func (f *fakeDB) RenewLeases(_ context.Context, nodes, _ []string) ([]string, error) {
	f.leases <- nodes
	if f.lost != nil {
		return f.lost(nodes), nil
	}
	return nil, nil
}

func (f *fakeDB) StoreCheckpoints(ctx context.Context, all []dispatch.NodeCheckpoint) error {
	if f.storeCheckpoints == nil {
		return nil
	}
	return f.storeCheckpoints(ctx, all)
}

func (f *fakeDB) StoreHealth(_ context.Context, all []dispatch.NodeHealth) error {
	if f.health != nil {
		return f.health(all)
	}
	return nil
}

func (f *fakeDB) SetNodeStatus(_ context.Context, node, _ string, status api.NodeStatus) error {
	f.statuses <- statusCall{node, status}
	if f.offline != nil && status == api.NodeOffline {
		f.offline(node)
	}
	return nil
}

func (f *fakeDB) Wanted(context.Context, string) ([]wire.Assignment, error) {
	if f.wanted != nil {
		return f.wanted()
	}
	return nil, nil
}

func (f *fakeDB) ReportRuns(_ context.Context, node string, rs []wire.RunReport) ([]api.RunKey, []wire.Refusal, error) {
	f.reports <- rs
	if f.report != nil {
		return f.report(node, rs)
	}
	var keys []api.RunKey
	for _, r := range rs {
		keys = append(keys, r.RunKey)
	}
	return keys, nil, nil
}

func (f *fakeDB) BundleFor(_ context.Context, node, pod string, _ int) (api.Pack, error) {
	if f.bundle != nil {
		return f.bundle(node, pod)
	}
	return api.Pack{BundlePath: "o/p/1.0.0/x.js", BundleSHA256: "abc", BundleSize: 3}, nil
}

// fakeVerifier takes "token <user> [lifetime]" for a token, of the session
// "of <user>".
type fakeVerifier struct {
	mu    sync.Mutex
	ended []string
}

func (v *fakeVerifier) end(session string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = append(v.ended, session)
}

func (v *fakeVerifier) Ended(_ context.Context, ids []string) ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(v.ended, id) }), nil
}

func (v *fakeVerifier) Alive(ctx context.Context, id access.Identity) error {
	if ended, err := v.Ended(ctx, []string{id.SessionID}); err != nil || len(ended) > 0 {
		return fault.New(fault.TokenInvalid, "the session has ended")
	}
	return nil
}

func (*fakeVerifier) Verify(_ context.Context, token string) (access.Identity, error) {
	parts := strings.Fields(token)
	if len(parts) < 2 || parts[0] != "token" {
		return access.Identity{}, fault.New(fault.TokenInvalid, "the token is not valid")
	}
	id := access.Identity{UserID: parts[1], SessionID: "of " + parts[1]}
	if len(parts) == 3 {
		d, err := time.ParseDuration(parts[2])
		if err != nil {
			return id, err
		}
		id.ExpiresAt = time.Now().Add(d)
	}
	return id, nil
}

type fakeSigner struct{}

func (fakeSigner) SignedURL(_ context.Context, path string, ttl time.Duration) (string, time.Time, error) {
	return "http://storage/" + path, time.Now().Add(ttl), nil
}

// rig is a dispatcher behind a real socket.
type rig struct {
	d      *dispatch.Dispatcher
	db     *fakeDB
	tokens *fakeVerifier
	store  *store.Store
	url    string
}

func newRig(t *testing.T, db *fakeDB, c dispatch.Config) *rig {
	t.Helper()
	return newRigWith(t, db, c, nil)
}

func newRigWith(t *testing.T, db *fakeDB, c dispatch.Config, log watch.Log) *rig {
	t.Helper()
	st := store.New()
	st.Apply(store.Batch{Reset: true, Cursor: "1"})
	tokens := &fakeVerifier{}
	d := dispatch.New(dispatch.Deps{
		DB: db, Store: st, Log: log, Verifier: tokens, Signer: fakeSigner{}, Config: c, Logger: loggingtest.New(t).Logger,
	})
	srv := httptest.NewServer(d)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.Run(ctx) })
	t.Cleanup(func() {
		stop, done := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer done()
		if err := d.Shutdown(stop); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		cancel()
		wg.Wait()
		srv.Close()
	})
	return &rig{d: d, db: db, tokens: tokens, store: st, url: "ws" + strings.TrimPrefix(srv.URL, "http")}
}

// peer is the other end of a session.
type peer struct {
	t    *testing.T
	conn *websocket.Conn
	got  chan wire.Envelope
	end  chan error
}

func (r *rig) dial(t *testing.T, token string) *peer {
	t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	conn, resp, err := websocket.Dial(t.Context(), r.url, &websocket.DialOptions{HTTPHeader: h, Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	return newPeer(t, conn)
}

func newPeer(t *testing.T, conn *websocket.Conn) *peer {
	t.Helper()
	conn.SetReadLimit(wire.MaxMessage)
	p := &peer{t: t, conn: conn, got: make(chan wire.Envelope, 10000), end: make(chan error, 1)}
	ctx := context.WithoutCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			_, frame, err := conn.Read(ctx)
			if err != nil {
				p.end <- err
				return
			}
			var e wire.Envelope
			if err := json.Unmarshal(frame, &e); err != nil {
				p.end <- err
				return
			}
			p.got <- e
		}
	}()
	t.Cleanup(func() { _ = conn.CloseNow(); <-done })
	return p
}

func (p *peer) send(typ, correlation string, payload any) {
	p.t.Helper()
	raw, err := json.Marshal(payload)
	if err != nil {
		p.t.Fatal(err)
	}
	frame, err := json.Marshal(wire.Envelope{Type: typ, CorrelationID: correlation, Payload: raw})
	if err != nil {
		p.t.Fatal(err)
	}
	p.raw(string(frame))
}

func (p *peer) raw(frame string) {
	p.t.Helper()
	if err := p.conn.Write(p.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// expect gives the next frame, which must have this type.
func (p *peer) expect(typ string, payload any) wire.Envelope {
	p.t.Helper()
	e := receive(p.t, p.got, typ)
	if e.Type != typ {
		p.t.Fatalf("got %s %s, want %s", e.Type, e.Payload, typ)
	}
	if payload != nil {
		if err := json.Unmarshal(e.Payload, payload); err != nil {
			p.t.Fatalf("%s: %v", typ, err)
		}
	}
	return e
}

// expectFailure gives the code of the next frame, an error of this type.
func (p *peer) expectFailure(typ string) string {
	p.t.Helper()
	var f wire.Failure
	p.expect(typ, &f)
	return f.Code
}

// expectClose gives the status with which the server closes.
func (p *peer) expectClose() websocket.StatusCode {
	p.t.Helper()
	select {
	case err := <-p.end:
		if ce, ok := errors.AsType[websocket.CloseError](err); ok {
			return ce.Code
		}
		return -1
	case <-time.After(patience):
		p.t.Fatal("the connection is still open")
		return 0
	}
}

// agent registers a node and takes the first complete set.
func (r *rig) agent(t *testing.T, runs ...wire.RunState) (*peer, wire.RunsSet) {
	t.Helper()
	p := r.dial(t, credential)
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeRegister, "r", aRegister(runs...))
	p.expect(wire.TypeRegister+wire.AckSuffix, nil)
	var set wire.RunsSet
	e := p.expect(wire.TypeRunsSet, &set)
	p.send(wire.TypeRunsAck, "", wire.RunsAck{Seq: e.Seq})
	return p, set
}

func aRegister(runs ...wire.RunState) wire.Register {
	return wire.Register{
		RegisterNodeRequest: api.RegisterNodeRequest{
			Name: "node-1", RuntimeType: api.RuntimeNode, Allocatable: &api.Capacity{CPU: 1000, Memory: 1024, Pods: 10},
		},
		Runs: runs,
	}
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("got nothing, want %s", what)
		panic("unreachable")
	}
}
