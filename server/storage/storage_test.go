package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/storage"
	"github.com/stark-orchestrator/stark/shared/fault"
)

type seen struct {
	method, uri   string
	header        http.Header
	length        int64
	body          []byte
	transferCoded bool
}

// service is a Storage that answers as recorded, and keeps what it saw.
type service struct {
	*httptest.Server
	mu     sync.Mutex
	last   seen
	status int
	answer string
}

func (s *service) reply(status int, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.answer = status, answer
}

func (s *service) saw() seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func newService(t *testing.T) (*service, *storage.Client) {
	t.Helper()
	s := &service{status: http.StatusOK, answer: `{}`}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Log(err)
		}
		s.mu.Lock()
		s.last = seen{r.Method, r.RequestURI, r.Header, r.ContentLength, body, len(r.TransferEncoding) > 0}
		status, answer := s.status, s.answer
		s.mu.Unlock()
		w.Header().Set("Location", "http://elsewhere.example/")
		w.WriteHeader(status)
		if _, err := io.WriteString(w, answer); err != nil {
			t.Log(err)
		}
	}))
	t.Cleanup(s.Close)
	c, err := storage.New(s.URL, "anon-key", "service-key")
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

const path = "owner/hello/1.0.0+b.1/abc.js"

func TestPut(t *testing.T) {
	t.Parallel()
	s, c := newService(t)
	s.reply(http.StatusOK, `{"Key":"pack-bundles/x","Id":"y"}`)
	if _, err := c.Put(t.Context(), "user-token", path, strings.NewReader("12345"), 5, "application/javascript"); err != nil {
		t.Fatal(err)
	}
	got := s.saw()
	if got.method != http.MethodPost || got.uri != "/storage/v1/object/pack-bundles/"+path || got.length != 5 || got.transferCoded || string(got.body) != "12345" {
		t.Errorf("sent %+v", got)
	}
	if got.header.Get("Authorization") != "Bearer user-token" || got.header.Get("apikey") != "anon-key" || got.header.Get("X-Upsert") != "false" ||
		got.header.Get("Content-Type") != "application/javascript" {
		t.Errorf("headers %v", got.header)
	}
	if _, err := c.Put(t.Context(), "user-token", "a b/?#.js", strings.NewReader(""), 0, "text/plain"); err != nil || s.saw().uri != "/storage/v1/object/pack-bundles/a%20b/%3F%23.js" {
		t.Errorf("%v, %s", err, s.saw().uri)
	}
	if _, err := c.Put(t.Context(), "", path, strings.NewReader("x"), 1, "text/plain"); fault.CodeOf(err) != fault.AuthenticationRequired {
		t.Errorf("without the user's token: %v", err)
	}
	for body, want := range map[string]fault.Code{
		`{"statusCode":"409","error":"Duplicate","message":"x","code":"KeyAlreadyExists"}`:        fault.Conflict,
		`{"statusCode":"403","error":"Unauthorized","message":"x","code":"AccessDenied"}`:         fault.Forbidden,
		`{"statusCode":"413","error":"Payload too large","message":"x","code":"EntityTooLarge"}`:  fault.PayloadTooLarge,
		`{"statusCode":"415","error":"invalid_mime_type","message":"x","code":"InvalidMimeType"}`: fault.UnsupportedMediaType,
	} {
		s.reply(http.StatusBadRequest, body)
		if _, err := c.Put(t.Context(), "user-token", path, strings.NewReader("x"), 1, "text/plain"); fault.CodeOf(err) != want {
			t.Errorf("%s: %v", body, err)
		}
	}
	s.reply(http.StatusOK, "{}")
	if _, err := c.Put(t.Context(), "user-token", path, strings.NewReader("short"), 50, "text/plain"); err == nil {
		t.Error("a body shorter than declared is accepted")
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	s, c := newService(t)
	s.reply(http.StatusOK, "the bundle")
	body, size, err := c.Open(t.Context(), "", path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(body)
	if cerr := body.Close(); err != nil || cerr != nil || string(data) != "the bundle" || size != 10 {
		t.Errorf("got %q, %d, %v", data, size, err)
	}
	if got := s.saw(); got.uri != "/storage/v1/object/authenticated/pack-bundles/"+path || got.header.Get("Authorization") != "Bearer service-key" {
		t.Errorf("sent %+v", got)
	}
	s.reply(http.StatusBadRequest, `{"statusCode":"404","error":"not_found","message":"Object not found","code":"NoSuchKey"}`)
	if _, _, err := c.Open(t.Context(), "user-token", path); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("got %v", err)
	}
	s.reply(http.StatusTemporaryRedirect, "")
	if _, _, err := c.Open(t.Context(), "", path); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("a redirect was followed or taken: %v", err)
	}
}

func TestSignedURL(t *testing.T) {
	t.Parallel()
	s, c := newService(t)
	s.reply(http.StatusOK, `{"signedURL":"/object/sign/pack-bundles/x.js?token=t"}`)
	url, expires, err := c.SignedURL(t.Context(), path, time.Minute)
	if err != nil || url != s.URL+"/storage/v1/object/sign/pack-bundles/x.js?token=t" || time.Until(expires) > time.Minute {
		t.Errorf("got %s, %s, %v", url, expires, err)
	}
	got := s.saw()
	var body map[string]any
	if err := json.Unmarshal(got.body, &body); err != nil || body["expiresIn"] != 60.0 || got.uri != "/storage/v1/object/sign/pack-bundles/"+path {
		t.Errorf("sent %+v: %v", got, err)
	}
	for _, name := range []string{"Authorization", "Apikey", "Content-Type"} {
		if v := got.header.Values(name); len(v) != 1 || (name != "Content-Type" && !strings.HasSuffix(v[0], "service-key")) {
			t.Errorf("%s: %v", name, v)
		}
	}
	s.reply(http.StatusOK, `{"signedURL":null}`)
	if _, _, err := c.SignedURL(t.Context(), path, time.Minute); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("no URL: %v", err)
	}
	s.reply(http.StatusBadRequest, `{"statusCode":"404","error":"not_found","message":"Object not found","code":"NoSuchKey"}`)
	if _, _, err := c.SignedURL(t.Context(), path, time.Minute); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("an absent object: %v", err)
	}
	s.reply(http.StatusFound, "")
	if _, _, err := c.SignedURL(t.Context(), path, time.Minute); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("a redirect was followed: %v", err)
	}
}

func TestDeleteAndHealth(t *testing.T) {
	t.Parallel()
	s, c := newService(t)
	s.reply(http.StatusOK, `[{"name":"x"}]`)
	if err := c.Delete(t.Context(), path); err != nil {
		t.Error(err)
	}
	if got := s.saw(); got.method != http.MethodDelete || got.uri != "/storage/v1/object/pack-bundles" || !strings.Contains(string(got.body), path) {
		t.Errorf("sent %+v", got)
	}
	s.reply(http.StatusOK, `[]`) // absent keys are silently left out
	if err := c.Delete(t.Context(), path); err != nil {
		t.Error(err)
	}
	s.reply(http.StatusOK, `{"id":"pack-bundles","name":"pack-bundles","public":false,"file_size_limit":52428800}`)
	if err := c.Health(t.Context()); err != nil || s.saw().uri != "/storage/v1/bucket/pack-bundles" || len(s.saw().body) != 0 {
		t.Errorf("%v, %+v", err, s.saw())
	}
	s.reply(http.StatusBadRequest, `{"statusCode":"404","error":"Bucket not found","message":"Bucket not found","code":"NoSuchBucket"}`)
	if err := c.Health(t.Context()); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("no bucket: %v", err)
	}
}

// Many calls at once through storage-go: its clients must not be shared.
func TestConcurrentCalls(t *testing.T) {
	t.Parallel()
	s, c := newService(t)
	s.reply(http.StatusOK, `{"signedURL":"/object/sign/x?token=t"}`)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, _, err := c.SignedURL(t.Context(), path, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestContext(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	entered := make(chan struct{}, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server notices who hangs up
		entered <- struct{}{}
		<-release
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	c, err := storage.New(srv.URL, "a", "s")
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(context.Context) error{
		"sign":   func(ctx context.Context) error { _, _, err := c.SignedURL(ctx, path, time.Minute); return err },
		"delete": func(ctx context.Context) error { return c.Delete(ctx, path) },
		"put": func(ctx context.Context) error {
			_, err := c.Put(ctx, "u", path, strings.NewReader("x"), 1, "text/plain")
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-entered; cancel() }()
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	if _, err := storage.New("nope", "a", "s"); err == nil {
		t.Error("a bad URL is accepted")
	}
}
