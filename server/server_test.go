package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/server"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
	"github.com/stark-orchestrator/stark/supabase/devstack"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

const patience = 2 * time.Minute // it tells a test that hangs, and promises no speed

func startStack(t *testing.T) *devstack.Stack {
	t.Helper()
	log := loggingtest.New(t)
	stack, err := devstack.Start(t.Context(), devstack.Options{
		Dir: t.TempDir(), TemplateKey: migrate.Digest(), Logger: log.Logger, PasswordCost: devstack.LeastPasswordCost,
		Prepare: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := migrate.Up(ctx, conn)
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	log.Secret(stack.JWTSecret, stack.AnonKey, stack.ServiceRoleKey, stack.PublishableKey, stack.SecretKey)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := stack.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return stack
}

// startServer runs a server until stop is called, which fails the test unless the
// server ends in peace.
func startServer(t *testing.T, stack *devstack.Stack, change ...func(*server.Config)) (srv *server.Server, stop func()) {
	t.Helper()
	env := map[string]string{
		"STARK_PORT": "0", "SUPABASE_URL": stack.URL, "SUPABASE_ANON_KEY": stack.AnonKey,
		"SUPABASE_SERVICE_ROLE_KEY": stack.ServiceRoleKey, "SUPABASE_JWT_SECRET": stack.JWTSecret,
		"STARK_DATABASE_URL": stack.DBURL,
	}
	cfg, err := server.LoadConfig(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&cfg)
	}
	srv, err = server.New(cfg, loggingtest.New(t, stack.JWTSecret).Logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- srv.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the server ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the server does not stop")
		}
	}
	t.Cleanup(stop)
	select {
	case <-srv.Ready():
		t.Logf("ready after %v", time.Since(began))
	case err := <-done:
		t.Fatalf("the server ended with %v", err)
	case <-time.After(patience):
		t.Fatal("the server is not ready")
	}
	return srv, stop
}

func connect(t *testing.T, srv *server.Server, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: srv.URL(), Token: client.StaticToken(token)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// socket is a connection to /ws.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
}

func dial(t *testing.T, srv *server.Server, token string) *socket {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL(), "http")+"/ws", &websocket.DialOptions{ //nolint:bodyclose // of an upgraded connection there is none
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}, Subprotocols: []string{wire.Subprotocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(wire.MaxMessage)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &socket{t: t, conn: conn}
}

func (s *socket) send(typ string, payload any) {
	s.t.Helper()
	raw, err := json.Marshal(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	frame, err := json.Marshal(wire.Envelope{Type: typ, CorrelationID: "c", Payload: raw})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.conn.Write(s.t.Context(), websocket.MessageText, frame); err != nil {
		s.t.Fatal(err)
	}
}

// await skips frames until one of this type has come for which ok holds.
func await[T any](s *socket, typ string, ok func(T) bool) T {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		_, frame, err := s.conn.Read(ctx)
		if err != nil {
			s.t.Fatalf("waiting for %s: %v", typ, err)
		}
		var e wire.Envelope
		if err := json.Unmarshal(frame, &e); err != nil {
			s.t.Fatal(err)
		}
		if strings.HasSuffix(e.Type, wire.ErrorSuffix) && e.Type != typ {
			s.t.Fatalf("waiting for %s: got %s %s", typ, e.Type, e.Payload)
		}
		if e.Type != typ {
			continue
		}
		var v T
		if err := json.Unmarshal(e.Payload, &v); err != nil {
			s.t.Fatal(err)
		}
		if ok == nil || ok(v) {
			return v
		}
	}
}

func awaitPod(s *socket, status api.PodStatus) {
	s.t.Helper()
	await(s, wire.TypeEvent, func(e wire.Event) bool {
		var p api.Pod
		return json.Unmarshal(e.Object, &p) == nil && p.Status == status
	})
}

const bundle = `module.exports.default = async () => {}`

func aBundle() client.Bundle {
	return client.Bundle{Size: int64(len(bundle)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(bundle)), nil
	}}
}

func TestAPackRunsOnANode(t *testing.T) {
	t.Parallel()
	stack := startStack(t)
	srv, stop := startServer(t, stack)
	anonymous := connect(t, srv, "")
	session, err := anonymous.Setup(t.Context(), api.RegisterRequest{Email: "admin@example.org", Password: "Passw0rdPassw0rd"})
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, srv, session.AccessToken)
	pack, err := admin.CreatePack(t.Context(), api.CreatePackRequest{Name: "hello", Version: "1.0.0", RuntimeTag: api.TagNode},
		aBundle())
	if err != nil {
		t.Fatal(err)
	}
	join, err := admin.CreateJoinToken(t.Context(), api.CreateJoinTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	watcher := dial(t, srv, session.AccessToken)
	watcher.send(wire.TypeWatch, wire.Watch{WatchID: "1", Kind: "pods"})
	await[wire.Bookmark](watcher, wire.TypeBookmark, nil)
	nodes := dial(t, srv, session.AccessToken)
	nodes.send(wire.TypeWatch, wire.Watch{WatchID: "1", Kind: "nodes"})
	await[wire.Bookmark](nodes, wire.TypeBookmark, nil)

	agent := dial(t, srv, join.Token)
	agent.send(wire.TypeRegister, wire.Register{RegisterNodeRequest: api.RegisterNodeRequest{
		Name: "node-1", RuntimeType: api.RuntimeNode, Allocatable: &api.Capacity{CPU: 2000, Memory: 2048, Storage: 2048, Pods: 10},
	}})
	registered := await[wire.Registered](agent, wire.TypeRegister+wire.AckSuffix, nil)
	if !strings.HasPrefix(registered.Credential, api.NodeCredentialPrefix) {
		t.Fatalf("got %+v, want a credential", registered.Node)
	}
	await[wire.RunsSet](agent, wire.TypeRunsSet, nil)
	agent.send(wire.TypeHeartbeat, wire.Heartbeat{NodeID: registered.Node.ID})
	await[wire.HeartbeatAck](agent, wire.TypeHeartbeat+wire.AckSuffix, nil)

	began := time.Now()
	pod, err := admin.CreatePod(t.Context(), api.CreatePodRequest{PackID: pack.ID})
	if err != nil {
		t.Fatal(err)
	}
	created := time.Since(began)
	delta := await(agent, wire.TypeRunsDelta, func(d wire.RunsDelta) bool { return len(d.Put) == 1 })
	t.Logf("created after %v, assigned after %v", created, time.Since(began))
	if a := delta.Put[0]; a.PodID != pod.ID || a.Pod.BundleSHA256 != pack.BundleSHA256 || a.Desire != wire.DesireRun {
		t.Fatalf("got %+v, want %s", a, pod.ID)
	}
	fetchBundle(t, agent, pod.ID)
	key := api.RunKey{PodID: pod.ID, Incarnation: 1, Attempt: 1}
	agent.send(wire.TypeRunReport, wire.RunReports{Reports: []wire.RunReport{{RunKey: key, Status: api.RunRunning, Ready: true, At: time.Now()}}})
	ack := await[wire.RunReportsAck](agent, wire.TypeRunReport+wire.AckSuffix, nil)
	if len(ack.Accepted) != 1 {
		t.Fatalf("got %+v, want the report accepted", ack)
	}
	awaitPod(watcher, api.PodRunning)
	t.Logf("running seen after %v", time.Since(began))

	began = time.Now()
	if _, _, err := admin.StopPod(t.Context(), pod.ID); err != nil {
		t.Fatal(err)
	}
	await(agent, wire.TypeRunsDelta, func(d wire.RunsDelta) bool { return len(d.Put) == 1 && d.Put[0].Desire == wire.DesireStop })
	agent.send(wire.TypeRunReport, wire.RunReports{Reports: []wire.RunReport{{
		RunKey: key, Status: api.RunExited, Final: true, At: time.Now(),
		Termination: &api.Termination{Reason: api.ReasonStopped, Attempt: 1, FinishedAt: time.Now()},
	}}})
	await(agent, wire.TypeRunsDelta, func(d wire.RunsDelta) bool { return len(d.Remove) == 1 })
	awaitPod(watcher, api.PodStopped)
	t.Logf("stopped seen after %v", time.Since(began))

	began = time.Now()
	_ = agent.conn.CloseNow()
	await(nodes, wire.TypeEvent, func(e wire.Event) bool {
		var n api.Node
		return json.Unmarshal(e.Object, &n) == nil && n.Status == api.NodeSuspect
	})
	t.Logf("suspect seen after %v", time.Since(began))
	again := dial(t, srv, registered.Credential)
	again.send(wire.TypeRegister, wire.Register{RegisterNodeRequest: api.RegisterNodeRequest{Name: "node-1", RuntimeType: api.RuntimeNode}})
	if back := await[wire.Registered](again, wire.TypeRegister+wire.AckSuffix, nil); back.Node.ID != registered.Node.ID {
		t.Errorf("the node came back as %s, want %s", back.Node.ID, registered.Node.ID)
	}
	stop()
}

func fetchBundle(t *testing.T, agent *socket, podID string) {
	t.Helper()
	agent.send(wire.TypeBundleURL, wire.BundleURL{PodID: podID, Incarnation: 1})
	where := await[wire.BundleURLAck](agent, wire.TypeBundleURL+wire.AckSuffix, nil)
	if _, err := url.Parse(where.URL); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, where.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got bytes.Buffer
	if _, err := got.ReadFrom(resp.Body); err != nil || got.String() != bundle {
		t.Errorf("got %d %q, want the bundle", resp.StatusCode, got.String())
	}
}

func TestAPodThatFitsNowhereGetsAVerdict(t *testing.T) {
	t.Parallel()
	srv, _ := startServer(t, startStack(t))
	session, err := connect(t, srv, "").Setup(t.Context(), api.RegisterRequest{Email: "admin@example.org", Password: "Passw0rdPassw0rd"})
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, srv, session.AccessToken)
	pack, err := admin.CreatePack(t.Context(), api.CreatePackRequest{Name: "hello", Version: "1.0.0", RuntimeTag: api.TagNode},
		aBundle())
	if err != nil {
		t.Fatal(err)
	}
	pod, err := admin.CreatePod(t.Context(), api.CreatePodRequest{PackID: pack.ID})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		v, err := admin.ExplainPod(t.Context(), pod.ID)
		if err == nil && v != nil && v.Reason == api.ReasonWaitingForNode {
			return
		}
		if err != nil && fault.CodeOf(err) != fault.NotFound {
			t.Fatal(err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	t.Error("the pod has no verdict")
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	if _, err := server.New(server.Config{}, loggingtest.New(t).Logger); err == nil {
		t.Error("a server without a database was made")
	}
	if _, err := server.New(server.Config{SupabaseURL: "http://x", DatabaseURL: "postgres://x"}, nil); err == nil {
		t.Error("a server without a logger was made")
	}
}

func TestTakenPortIsAnError(t *testing.T) {
	t.Parallel()
	stack := startStack(t)
	first, _ := startServer(t, stack)
	u, err := url.Parse(first.URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{Host: "127.0.0.1", SupabaseURL: stack.URL, DatabaseURL: stack.DBURL}
	if cfg.Port, err = net.LookupPort("tcp", u.Port()); err != nil {
		t.Fatal(err)
	}
	second, err := server.New(cfg, loggingtest.New(t).Logger)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen") {
		t.Errorf("got %v, want that it cannot listen", err)
	}
}

// A server that was given a listener serves on it, whatever address the settings name.
func TestAServerServesOnTheListenerItIsGiven(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	// Opened twice it would be in use.
	srv, stop := startServer(t, startStack(t), func(c *server.Config) { c.Port, c.Listener = address.Port, listener })
	if want := "http://" + address.String(); srv.URL() != want {
		t.Errorf("the server is at %s, want %s", srv.URL(), want)
	}
	stop()
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end the listener gives %v", err)
	}
}
