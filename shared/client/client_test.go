package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging"
)

// seen is one request as the server got it.
type seen struct {
	method, uri, token, correlation, body string
}

// server answers every request the same and keeps what it saw.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

func serve(t *testing.T, handle http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the request: %v", err)
		}
		s.mu.Lock()
		s.seen = append(s.seen, seen{r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get(client.HeaderCorrelationID), string(body)})
		s.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func answering(t *testing.T, status int, body string) *server {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func (s *server) client(t *testing.T, tokens client.TokenSource) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: s.URL + "/", Token: tokens, UserAgent: "test", Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *server) last(t *testing.T) seen {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		t.Fatal("the server saw no request")
	}
	return s.seen[len(s.seen)-1]
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "localhost:8480", "ftp://x", "http://", "http://user:secret@h", "http://h?x=1", "http://h#f", "http://[::1"} {
		if _, err := client.New(client.Config{URL: bad}); fault.CodeOf(err) != fault.Validation {
			t.Errorf("New(%q) = %v, want a validation fault", bad, err)
		}
	}
	for in, want := range map[string]string{
		"http://127.0.0.1:8480": "ws://127.0.0.1:8480/ws", "https://stark.example/": "wss://stark.example/ws", "https://h/base": "wss://h/base/ws",
	} {
		c, err := client.New(client.Config{URL: in})
		if err != nil || c.WebSocketURL() != want || c.URL() != strings.TrimRight(in, "/") {
			t.Errorf("%s: got %s, %s, %v, want %s", in, c.URL(), c.WebSocketURL(), err, want)
		}
	}
	u, err := url.Parse("https://h")
	if err != nil || client.WebSocketURL(u) != "wss://h/ws" {
		t.Errorf("WebSocketURL = %s, %v", client.WebSocketURL(u), err)
	}
}

// rotating is a TokenSource whose first token has expired.
type rotating struct{ refreshed int }

func (r *rotating) Token(context.Context) (string, error) { return "old", nil }

func (r *rotating) Refresh(_ context.Context, stale string) (string, error) {
	r.refreshed++
	if stale != "old" || r.refreshed > 1 {
		return "", fault.New(fault.TokenExpired, "sign in again")
	}
	return "new", nil
}

func TestExpiredTokensAreRefreshedOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"success":false,"error":{"code":"TOKEN_EXPIRED","message":"expired"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"success":true,"data":{"user":{"email":"a@b.c"}}}`)
	})
	tokens := &rotating{}
	c := s.client(t, tokens)
	user, err := c.Whoami(t.Context())
	if err != nil || user.Email != "a@b.c" || tokens.refreshed != 1 {
		t.Errorf("got %v, %v after %d refreshes, want the user after one", user, err, tokens.refreshed)
	}
	if _, err := c.Whoami(t.Context()); fault.CodeOf(err) != fault.TokenExpired {
		t.Errorf("got %v, want the failure of the refresh", err)
	}
	if _, err := s.client(t, client.StaticToken("old")).Whoami(t.Context()); fault.CodeOf(err) != fault.TokenExpired {
		t.Errorf("got %v, want TOKEN_EXPIRED of a token that cannot be refreshed", err)
	}
	if _, err := s.client(t, failing{}).Whoami(t.Context()); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want the failure of the token source", err)
	}
}

type failing struct{ client.StaticToken }

func (failing) Token(context.Context) (string, error) { return "", io.ErrNoProgress }

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := answering(t, http.StatusOK, `{"success":true,"data":{"pod":{"id":"p"}}}`)
	c := s.client(t, client.StaticToken("secret"))
	if _, err := c.GetPod(logging.WithCorrelationID(t.Context(), "c-1"), "a/b?c"); err != nil {
		t.Fatal(err)
	}
	if got := s.last(t); got.uri != "/api/pods/a%2Fb%3Fc" || got.token != "Bearer secret" || got.correlation != "c-1" {
		t.Errorf("got %+v, want an escaped path, the token and the correlation id", got)
	}
	if _, err := c.GetPod(t.Context(), "p"); err != nil || !api.ValidID(s.last(t).correlation) {
		t.Errorf("got %+v, %v, want a new correlation id", s.last(t), err)
	}
	if _, err := c.Login(t.Context(), api.LoginRequest{Email: "a", Password: "b"}); err != nil || s.last(t).token != "" {
		t.Errorf("got %+v, %v, want a login without token", s.last(t), err)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]fault.Code{
		`{"success":false,"error":{"code":"QUOTA_EXCEEDED","message":"full"}}`: fault.QuotaExceeded,
		`<html>`: fault.Forbidden,
	} {
		if _, err := answering(t, http.StatusForbidden, body).client(t, nil).GetPod(t.Context(), "p"); fault.CodeOf(err) != want {
			t.Errorf("%s gives %v, want %s", body, err, want)
		}
	}
	for _, body := range []string{``, `<html>`, `{"success":true}`, `{"success":true,"data":[]}`} {
		if _, err := answering(t, http.StatusOK, body).client(t, nil).GetPod(t.Context(), "p"); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s gives %v, want INTERNAL_ERROR", body, err)
		}
	}
	redirect := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	})
	if _, err := redirect.client(t, client.StaticToken("secret")).GetPod(t.Context(), "p"); fault.CodeOf(err) != fault.Internal {
		t.Errorf("a redirect gives %v, want it not followed", err)
	}
	huge := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for range 33 {
			_, _ = w.Write(chunk)
		}
	})
	if _, err := huge.client(t, nil).GetPod(t.Context(), "p"); fault.CodeOf(err) != fault.PayloadTooLarge {
		t.Errorf("an endless answer gives %v, want PAYLOAD_TOO_LARGE", err)
	}
	cut := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{`)
	})
	if _, err := cut.client(t, nil).GetPod(t.Context(), "p"); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("a cut answer gives %v, want SERVICE_UNAVAILABLE", err)
	}
}

func TestUnreachableAndSlowServers(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{URL: "http://" + address})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetPod(t.Context(), "p"); fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v, want SERVICE_UNAVAILABLE naming %s", err, address)
	}
	slow := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	impatient, err := client.New(client.Config{URL: slow.URL, Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := impatient.GetPod(t.Context(), "p"); fault.CodeOf(err) != fault.Timeout {
		t.Errorf("got %v, want TIMEOUT", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := slow.client(t, nil).GetPod(gone, "p"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	got, err := answering(t, http.StatusOK, `{"status":"healthy"}`).client(t, nil).Health(t.Context())
	if err != nil || got["status"] != "healthy" {
		t.Errorf("got %v, %v, want a bare object", got, err)
	}
	for status, want := range map[int]fault.Code{http.StatusServiceUnavailable: fault.Unavailable, http.StatusOK: fault.Internal} {
		if _, err := answering(t, status, `<html>`).client(t, nil).Health(t.Context()); fault.CodeOf(err) != want {
			t.Errorf("status %d gives %v, want %s", status, err, want)
		}
	}
}

func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var out T
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return out
}

func newPlainServer(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
