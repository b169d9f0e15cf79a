package relay_test

import (
	"context"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/server/relay"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const patience = 2 * time.Minute // it tells a test that hangs, and promises no speed

// source is a server's own nodes.
type source func(ctx context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error]

func (s source) OpenLogs(ctx context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return s(ctx, nodeID, o)
}

func away(context.Context, string, wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		yield(wire.LogsChunk{}, fault.New(fault.Unavailable, "the pod's node is not connected"))
	}
}

func says(texts ...string) source {
	return func(context.Context, string, wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
		return func(yield func(wire.LogsChunk, error) bool) {
			for _, text := range texts {
				if !yield(chunk(text), nil) {
					return
				}
			}
		}
	}
}

func chunk(text string) wire.LogsChunk {
	return wire.LogsChunk{Lines: []api.LogLine{{Stream: "log", Line: text}}}
}

// passes is the database of both servers: one pass at a time.
type passes struct {
	mu        sync.Mutex
	address   string
	target    relay.Target
	secret    string
	announced []string
	err       error
}

func (p *passes) AnnounceServer(_ context.Context, address string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announced = append(p.announced, address)
	return p.err
}

func (p *passes) WithdrawServer(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announced = append(p.announced, "gone")
	return nil
}

func (p *passes) RelayPass(_ context.Context, nodeID, podID string) (relay.Pass, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.address == "" {
		return relay.Pass{}, fault.New(fault.Unavailable, "nobody has it")
	}
	p.secret, p.target = "stark_relay_"+api.NewID(), relay.Target{NodeID: nodeID, PodID: podID}
	return relay.Pass{Address: p.address, Secret: p.secret}, p.err
}

func (p *passes) RedeemRelayPass(_ context.Context, secret string) (relay.Target, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return relay.Target{}, p.err
	}
	if secret != p.secret {
		return relay.Target{}, fault.New(fault.TokenInvalid, "no such pass")
	}
	p.secret = ""
	return p.target, nil
}

func newRelay(tb testing.TB, db relay.Database, local relay.Source, places int) *relay.Relay {
	tb.Helper()
	return relay.New(relay.Config{DB: db, Local: local, Logger: loggingtest.New(tb).Logger, MaxStreams: places})
}

// two gives a server without nodes, beside one that has them.
func two(t *testing.T, there source) (*relay.Relay, *passes, *httptest.Server) {
	t.Helper()
	db := &passes{}
	srv := httptest.NewServer(newRelay(t, db, there, 0))
	t.Cleanup(srv.Close)
	db.address = srv.URL
	return newRelay(t, db, source(away), 0), db, srv
}

func collect(ctx context.Context, r *relay.Relay, o wire.LogsOpen) (texts []string, err error) {
	for c, e := range r.OpenLogs(ctx, "node", o) {
		if e != nil {
			return texts, e
		}
		for _, l := range c.Lines {
			texts = append(texts, l.Line)
		}
	}
	return texts, nil
}

func TestOwnNodesAreReadHere(t *testing.T) {
	t.Parallel()
	db := &passes{}
	texts, err := collect(t.Context(), newRelay(t, db, says("here"), 0), wire.LogsOpen{PodID: "pod"})
	if err != nil || strings.Join(texts, " ") != "here" || db.secret != "" {
		t.Errorf("got %v, %v, pass %q", texts, err, db.secret)
	}
}

func TestAnotherServerIsAsked(t *testing.T) {
	t.Parallel()
	var asked wire.LogsOpen
	var node string
	r, _, _ := two(t, func(_ context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
		asked, node = o, nodeID
		return says("one", "two")(t.Context(), nodeID, o)
	})
	texts, err := collect(t.Context(), r, wire.LogsOpen{PodID: "pod", Tail: 7, Follow: true})
	if err != nil || strings.Join(texts, " ") != "one two" {
		t.Errorf("got %v, %v", texts, err)
	}
	if node != "node" || asked.Tail != 7 || !asked.Follow || asked.PodID != "pod" {
		t.Errorf("asked node %q for %+v", node, asked)
	}
}

// The error of a stream arrives as it was, and one without a last line is no end.
func TestErrorsOfAnotherServer(t *testing.T) {
	t.Parallel()
	r, _, _ := two(t, func(context.Context, string, wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
		return func(yield func(wire.LogsChunk, error) bool) {
			_ = yield(chunk("one"), nil) && yield(wire.LogsChunk{}, fault.New(fault.NotFound, "the node keeps no output of this pod"))
		}
	})
	texts, err := collect(t.Context(), r, wire.LogsOpen{PodID: "pod"})
	if fault.CodeOf(err) != fault.NotFound || len(texts) != 1 {
		t.Errorf("got %v, %v", texts, err)
	}

	var cut *httptest.Server
	r, _, cut = two(t, func(context.Context, string, wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
		return func(yield func(wire.LogsChunk, error) bool) {
			yield(chunk("one"), nil)
			cut.CloseClientConnections()
			yield(chunk("two"), nil)
		}
	})
	texts, err = collect(t.Context(), r, wire.LogsOpen{PodID: "pod", Follow: true})
	if fault.CodeOf(err) != fault.Unavailable || len(texts) > 1 {
		t.Errorf("a server that was killed: %v, %v", texts, err)
	}
}

func TestNobodyHoldsTheNode(t *testing.T) {
	t.Parallel()
	r, db, srv := two(t, says("one"))
	db.address = ""
	if _, err := collect(t.Context(), r, wire.LogsOpen{PodID: "pod"}); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("no server: %v", err)
	}
	srv.Close()
	db.address = srv.URL
	if _, err := collect(t.Context(), r, wire.LogsOpen{PodID: "pod"}); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("a server that does not answer: %v", err)
	}
}

// A reader that leaves closes the stream at the node.
func TestLeavingClosesTheStream(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	r, _, _ := two(t, func(ctx context.Context, _ string, _ wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
		return func(yield func(wire.LogsChunk, error) bool) {
			defer close(closed)
			if yield(chunk("one"), nil) {
				<-ctx.Done()
			}
		}
	})
	for _, err := range r.OpenLogs(t.Context(), "node", wire.LogsOpen{PodID: "pod", Follow: true}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("the stream stays open after its reader has gone")
	}
}

func TestWhatOpensNothing(t *testing.T) {
	t.Parallel()
	_, db, srv := two(t, says("secret"))
	pass := func() string {
		p, err := db.RelayPass(t.Context(), "node", "pod")
		if err != nil {
			t.Fatal(err)
		}
		return p.Secret
	}
	used := pass()
	ask := func(method, secret, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+relay.Path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if secret != "" {
			req.Header.Set("Authorization", "Bearer "+secret)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	const body = `{"podId":"pod"}`
	if got := ask(http.MethodPost, used, body); got != http.StatusOK {
		t.Fatalf("a good pass: %d", got)
	}
	for what, tc := range map[string]struct {
		method, secret, body string
		want                 int
	}{
		"a used pass":      {http.MethodPost, used, body, http.StatusUnauthorized},
		"no pass":          {http.MethodPost, "", body, http.StatusUnauthorized},
		"a long pass":      {http.MethodPost, strings.Repeat("x", 200), body, http.StatusUnauthorized},
		"another pod":      {http.MethodPost, pass(), `{"podId":"other"}`, http.StatusUnauthorized},
		"no JSON":          {http.MethodPost, pass(), `{`, http.StatusBadRequest},
		"a large question": {http.MethodPost, pass(), `{"podId":"` + strings.Repeat("x", 20<<10) + `"}`, http.StatusBadRequest},
		"a GET":            {http.MethodGet, pass(), "", http.StatusMethodNotAllowed},
	} {
		if got := ask(tc.method, tc.secret, tc.body); got != tc.want {
			t.Errorf("%s: %d, want %d", what, got, tc.want)
		}
	}
	db.err = fault.New(fault.Unavailable, "the database is away")
	if got := ask(http.MethodPost, "any", body); got != http.StatusServiceUnavailable {
		t.Errorf("no database: %d", got)
	}
}

// A pass is never sent on to where an answer points.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	shown := make(chan string, 1)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown <- r.Header.Get("Authorization") }))
	t.Cleanup(thief.Close)
	srv := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	t.Cleanup(srv.Close)
	_, err := collect(t.Context(), newRelay(t, &passes{address: srv.URL}, source(away), 0), wire.LogsOpen{PodID: "pod"})
	if fault.CodeOf(err) != fault.Unavailable || len(shown) != 0 {
		t.Errorf("%v, shown %d times", err, len(shown))
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	db := &passes{}
	begun, over := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(newRelay(t, db, source(func(context.Context, string, wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
		return func(func(wire.LogsChunk, error) bool) { close(begun); <-over }
	}), 1))
	t.Cleanup(srv.Close)
	db.address = srv.URL
	r := newRelay(t, db, source(away), 0)
	first := make(chan error, 1)
	go func() {
		_, err := collect(context.WithoutCancel(t.Context()), r, wire.LogsOpen{PodID: "pod"})
		first <- err
	}()
	<-begun
	if _, err := collect(t.Context(), r, wire.LogsOpen{PodID: "pod"}); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("one too many: %v", err)
	}
	close(over)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// A server says again and again where it is, and at the end that it has gone.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &passes{err: fault.New(fault.Unavailable, "away")} // which ends nothing
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			newRelay(t, db, source(away), 0).Announce(ctx, "http://here")
		}()
		time.Sleep(25 * time.Second)
		cancel()
		<-done
		if got := strings.Join(db.announced, " "); got != "http://here http://here http://here gone" {
			t.Errorf("announced %s", got)
		}
	})
}
