// Package tokens tries what a token, a ticket or a credential opens, and for how
// long, through HTTP and WebSocket on a real stack with two servers.
package tokens

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/server"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
	supabase "github.com/stark-orchestrator/stark/tests/project"
)

const (
	patience = time.Minute
	password = "Correct-Horse-9"
)

// project is a stack with two servers over it.
type project struct {
	t     *testing.T
	stack *supabase.Project
	a, b  string // addresses of the servers
	admin *client.Client
	log   *loggingtest.Log
}

func newProject(t *testing.T) *project {
	t.Helper()
	stack, log := supabase.New(t), loggingtest.New(t, password)
	stack.Secret(password)
	p := &project{t: t, stack: stack, log: log}
	log.Secret(stack.JWTSecret, stack.AnonKey, stack.ServiceRoleKey, stack.PublishableKey, stack.SecretKey)
	p.a, p.b = p.server(), p.server()
	session, err := p.client("", p.a).Setup(t.Context(), api.RegisterRequest{Email: "admin@example.com", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	p.admin = p.client(session.AccessToken, p.a)
	return p
}

func (p *project) server() string {
	p.t.Helper()
	env := map[string]string{
		"STARK_PORT": "0", "SUPABASE_URL": p.stack.URL, "SUPABASE_PUBLISHABLE_KEY": p.stack.PublishableKey,
		"SUPABASE_SECRET_KEY": p.stack.SecretKey, "SUPABASE_JWT_SECRET": p.stack.JWTSecret, "STARK_DATABASE_URL": p.stack.DBURL,
		"STARK_RATE_LIMIT_API": "off", "STARK_RATE_LIMIT_AUTH": "off", "STARK_CORS_ORIGINS": "https://app.example.com",
		"STARK_DATABASE_POOL_SIZE": "4",
	}
	cfg, err := server.LoadConfig(func(name string) string { return env[name] })
	if err != nil {
		p.t.Fatal(err)
	}
	cfg.SessionReview = time.Hour // so that a session which is ended was announced as such
	srv, err := server.New(cfg, p.log.Logger)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case <-srv.Ready():
	case <-time.After(patience):
		p.t.Fatal("the server is not ready")
	}
	return srv.URL()
}

func (p *project) client(token, url string) *client.Client {
	p.t.Helper()
	c, err := client.New(client.Config{URL: url, Token: client.StaticToken(token)})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// user makes a user and signs them in.
func (p *project) user(email string, roles ...api.Role) api.Session {
	p.t.Helper()
	if _, err := p.admin.CreateUser(p.t.Context(), api.CreateUserRequest{Email: email, Password: password, Roles: roles}); err != nil {
		p.t.Fatal(err)
	}
	return p.signIn(email)
}

func (p *project) signIn(email string) api.Session {
	p.t.Helper()
	s, err := p.client("", p.b).Login(p.t.Context(), api.LoginRequest{Email: email, Password: password})
	if err != nil {
		p.t.Fatal(err)
	}
	p.log.Secret(s.AccessToken, s.RefreshToken)
	p.stack.Secret(s.AccessToken, s.RefreshToken)
	return s
}

// claims gives those of a real token, changed; nil removes one.
func claims(t *testing.T, token string, change map[string]any) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	for name, v := range change {
		c[name] = v
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

// sign makes a token of the project's own, as only Supabase Auth can.
func (p *project) sign(claims map[string]any) string {
	p.t.Helper()
	return p.stack.Sign(p.t, claims)
}

// jwks is the set of keys that the project publishes.
func (p *project) jwks() []byte {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.stack.URL+"/auth/v1/.well-known/jwks.json", http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	set, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return set
}

// rest sends a request with headers as they are and gives status and code.
func (p *project) rest(method, url, token string, body any) (int, fault.Code) {
	p.t.Helper()
	var sent io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		sent = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, url, sent)
	if err != nil {
		p.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var e fault.Envelope
	_ = json.NewDecoder(resp.Body).Decode(&e) // what is no envelope has no code
	return resp.StatusCode, e.Error.Code
}

// socket is a connection to /ws; its frames are read one by one.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
}

// dial opens a socket without a token, or with one in the header.
func (p *project) dial(url, token string) *socket {
	p.t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	s, err := p.dialWith(url, h)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *project) dialWith(url string, h http.Header, protocols ...string) (*socket, error) {
	conn, resp, err := websocket.Dial(p.t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/ws", &websocket.DialOptions{
		HTTPHeader: h, Subprotocols: append([]string{wire.Subprotocol}, protocols...),
	})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(wire.MaxMessage)
	p.t.Cleanup(func() { _ = conn.CloseNow() })
	return &socket{t: p.t, conn: conn}, nil
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

// await skips frames up to one of these types.
func (s *socket) await(types ...string) wire.Envelope {
	s.t.Helper()
	e, err := s.awaitOrEnd(types...)
	if err != nil {
		s.t.Fatalf("waiting for %v: %v", types, err)
	}
	return e
}

// awaitOrEnd is await that also gives how the connection ended.
func (s *socket) awaitOrEnd(types ...string) (wire.Envelope, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		_, frame, err := s.conn.Read(ctx)
		if err != nil {
			return wire.Envelope{}, err
		}
		var e wire.Envelope
		if err := json.Unmarshal(frame, &e); err != nil {
			s.t.Fatal(err)
		}
		if slices.Contains(types, e.Type) {
			return e, nil
		}
	}
}

// ask sends a message and gives the code of its refusal, "" when it was taken.
func (s *socket) ask(typ string, payload any) fault.Code {
	s.t.Helper()
	s.send(typ, payload)
	good, bad := typ+wire.AckSuffix, typ+wire.ErrorSuffix
	if typ == wire.TypeAuthenticate {
		good, bad = wire.TypeAuthenticated, wire.TypeAuthError
	}
	e := s.await(good, bad)
	for e.CorrelationID != "c" { // of a heartbeat that nobody waits for
		e = s.await(good, bad)
	}
	if e.Type == good {
		return ""
	}
	var f wire.Failure
	if err := json.Unmarshal(e.Payload, &f); err != nil {
		s.t.Fatal(err)
	}
	return fault.Code(f.Code)
}

// known reports from the greeting whether the handshake said who it is.
func (s *socket) known() bool {
	s.t.Helper()
	var c wire.Connected
	if err := json.Unmarshal(s.await(wire.TypeConnected).Payload, &c); err != nil {
		s.t.Fatal(err)
	}
	return !c.RequiresAuth
}

// closed waits for the end and gives its status.
func (s *socket) closed() websocket.StatusCode {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := s.conn.Read(ctx); err != nil {
			var ce websocket.CloseError
			if !errors.As(err, &ce) {
				s.t.Fatalf("the connection is still open: %v", err)
			}
			return ce.Code
		}
	}
}

// open asks for an answer of a connection that must not be closed.
func (s *socket) open() {
	s.t.Helper()
	s.send(wire.TypePing, struct{}{})
	s.await(wire.TypePong)
}
