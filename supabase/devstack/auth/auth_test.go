package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"

	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/supabase/devstack/keys"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg/pgtest"
)

// world is a service on a database of its own.
type world struct {
	*testing.T
	keys     *keys.Set
	database string
	http     *httptest.Server
	skew     atomic.Int64 // how far the service's clock runs ahead
}

// server is shared by the tests of this package.
var server *pg.Server

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var err error
	if server, err = pg.Start(ctx, pg.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := server.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

const goodPassword = "Passw0rd!"

func newWorld(t *testing.T, adjust func(*Config)) *world {
	t.Helper()
	database := pgtest.Clone(t, server)
	pool := pgtest.Pool(t, server, "supabase_auth_admin", database)
	set, err := keys.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := Defaults()
	c.Pool, c.Keys, c.Issuer, c.MinPassword, c.Anonymous = pool, set, "http://issuer.test/auth/v1", 8, true
	c.Logger = loggingtest.New(t, goodPassword, set.JWTSecret, set.SecretKey).Logger
	if adjust != nil {
		adjust(&c)
	}
	s, err := newService(c)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, keys: set, database: database}
	s.PasswordCost = bcrypt.MinCost
	s.now = func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }
	w.http = httptest.NewServer(s.routes())
	t.Cleanup(w.http.Close)
	return w
}

// reply is an answer with its body decoded.
type reply struct {
	status int
	header http.Header
	body   map[string]any
}

func (r reply) str(key string) string {
	s, _ := r.body[key].(string)
	return s
}

func (r reply) object(key string) map[string]any {
	m, _ := r.body[key].(map[string]any)
	return m
}

// do sends a request; a token that is not empty goes into Authorization as Bearer.
func (w *world) do(method, path, token, body string, header ...string) reply {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, w.http.URL+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	out := reply{status: resp.StatusCode, header: resp.Header}
	if json.Unmarshal(text, &out.body) != nil && len(text) > 0 {
		out.body = map[string]any{"text": string(text)}
	}
	return out
}

// ok does the same and insists on 200.
func (w *world) ok(method, path, token, body string) reply {
	w.Helper()
	r := w.do(method, path, token, body)
	if r.status != http.StatusOK {
		w.Fatalf("%s %s = %d %v", method, path, r.status, r.body)
	}
	return r
}

func (w *world) service() string { return w.keys.ServiceRoleKey }

// signUp makes a user and returns the session.
func (w *world) signUp(email string) reply {
	w.Helper()
	return w.ok("POST", "/signup", "", `{"email":"`+email+`","password":"`+goodPassword+`"}`)
}

func (w *world) refresh(token string) reply {
	w.Helper()
	return w.do("POST", "/token?grant_type=refresh_token", "", `{"refresh_token":"`+token+`"}`)
}

func (w *world) sql(user, statement string) {
	w.Helper()
	conn, err := server.Connect(w.Context(), user, w.database)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = conn.Close(w.Context()) }()
	if _, err := conn.Exec(w.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		w.Fatalf("%s: %v", statement, err)
	}
}

func (w *world) want(r reply, status int, code string) {
	w.Helper()
	if r.status != status || r.str("error_code") != code {
		w.Errorf("got %d %v, want %d %s", r.status, r.body, status, code)
	}
}

// claims reads a token and fails when its signature is wrong.
func (w *world) claims(token string) map[string]any {
	w.Helper()
	claims, err := w.keys.Verify(token)
	if err != nil {
		w.Fatal(err)
	}
	return claims
}
