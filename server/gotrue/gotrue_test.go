package gotrue_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/server/supabase"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const userID = "0190b2f5-7c1a-7d3e-9f00-00000000aaaa"

const userJSON = `{"id":"` + userID + `","aud":"authenticated","role":"authenticated","email":"a@b.example",
"user_metadata":{"display_name":"Ann"},"app_metadata":{"provider":"email"},"created_at":"2026-01-02T03:04:05.123456Z","updated_at":"2026-01-02T03:04:05.123456789Z","is_anonymous":false}`

const sessionJSON = `{"access_token":"at","token_type":"bearer","expires_in":3600,"expires_at":1900000000,"refresh_token":"rt","weak_password":null,"user":` + userJSON + `}`

// service is a GoTrue that answers as recorded, and keeps the last request.
type service struct {
	*httptest.Server
	status int
	answer string
	header http.Header
	path   string
	query  string
	body   map[string]any
}

func newService(t *testing.T) (*service, *gotrue.Client) {
	t.Helper()
	s := &service{status: http.StatusOK, answer: sessionJSON}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.header, s.path, s.query, s.body = r.Header, r.Method+" "+r.URL.Path, r.URL.RawQuery, nil
		data, err := io.ReadAll(r.Body)
		if err == nil && len(data) > 0 {
			err = json.Unmarshal(data, &s.body)
		}
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "http://elsewhere.example/")
		w.WriteHeader(s.status)
		if _, err := io.WriteString(w, s.answer); err != nil {
			t.Log(err)
		}
	}))
	t.Cleanup(s.Close)
	c, err := gotrue.New(s.URL, "anon-key", "service-key")
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s, c := newService(t)
	got, err := c.SignUp(t.Context(), gotrue.NewUser{Email: "a@b.example", Password: "pw", DisplayName: "Ann"})
	if err != nil || got.AccessToken != "at" || got.RefreshToken != "rt" || got.User.ID != userID || got.User.DisplayName != "Ann" || got.ExpiresAt.Unix() != 1900000000 {
		t.Errorf("sign up: %+v, %v", got, err)
	}
	data, _ := s.body["data"].(map[string]any)
	if s.path != "POST /auth/v1/signup" || s.header.Get("apikey") != "anon-key" || data["display_name"] != "Ann" {
		t.Errorf("sent %s %v %v", s.path, s.header, s.body)
	}
	got, err = c.SignIn(t.Context(), "a@b.example", "pw")
	if err != nil || got.User.Email != "a@b.example" || s.query != "grant_type=password" {
		t.Errorf("sign in: %+v, %v, %s", got, err, s.query)
	}
	if got, err = c.Refresh(t.Context(), "rt0"); err != nil || got.RefreshToken != "rt" || s.body["refresh_token"] != "rt0" {
		t.Errorf("refresh: %+v, %v", got, err)
	}
	s.answer, s.status = "", http.StatusNoContent
	if err := c.Logout(t.Context(), "at"); err != nil || s.query != "scope=local" || s.header.Get("Authorization") != "Bearer at" {
		t.Errorf("log out: %v, %s", err, s.query)
	}
	s.answer, s.status = userJSON, http.StatusOK // where e-mails are confirmed first, sign-up gives a user alone
	if got, err = c.SignUp(t.Context(), gotrue.NewUser{Email: "a@b.example", Password: "pw"}); err != nil || got.AccessToken != "" || got.User.ID != userID {
		t.Errorf("sign up without a session: %+v, %v", got, err)
	}
	if _, err := c.SignUp(t.Context(), gotrue.NewUser{Password: "pw"}); fault.CodeOf(err) != fault.Validation {
		t.Errorf("a sign-up that would be anonymous: %v", err)
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	s, c := newService(t)
	s.answer = userJSON
	u, err := c.AdminCreateUser(t.Context(), gotrue.NewUser{Email: "a@b.example", Password: "pw"})
	if err != nil || u.ID != userID || s.path != "POST /auth/v1/admin/users" || s.body["email_confirm"] != true || s.body["role"] != nil {
		t.Errorf("create: %+v, %v, %s %v", u, err, s.path, s.body)
	}
	if s.header.Get("apikey") != "service-key" || s.header.Get("Authorization") != "Bearer service-key" {
		t.Errorf("headers %v", s.header)
	}
	if _, marked := s.body["app_metadata"]; marked {
		t.Errorf("a user without a request is marked: %v", s.body)
	}
	if _, err := c.AdminCreateUser(t.Context(), gotrue.NewUser{Email: "a@b.example", Password: "pw", Request: "r1"}); err != nil {
		t.Error(err)
	}
	if mark, _ := s.body["app_metadata"].(map[string]any); mark["stark_request"] != "r1" {
		t.Errorf("the mark is %v", s.body)
	}
	s.answer = `{"id":"` + userID + `","app_metadata":{"stark_request":"r1"}}`
	for request, want := range map[string]bool{"r1": true, "r2": false, "": false} {
		if ours, err := c.AdminMadeBy(t.Context(), userID, request); err != nil || ours != want || s.path != "GET /auth/v1/admin/users/"+userID {
			t.Errorf("made by %q: %t, %v, %s", request, ours, err, s.path)
		}
	}
	if _, err := c.AdminMadeBy(t.Context(), "nope", "r1"); fault.CodeOf(err) != fault.Validation {
		t.Errorf("made by, of no uuid: %v", err)
	}
	s.answer = "{}"
	if err := c.AdminDeleteUser(t.Context(), userID); err != nil || s.path != "DELETE /auth/v1/admin/users/"+userID {
		t.Errorf("delete: %v, %s", err, s.path)
	}
	s.status, s.answer = http.StatusNotFound, `{"code":404,"error_code":"user_not_found","msg":"User not found"}`
	if err := c.AdminDeleteUser(t.Context(), userID); err != nil {
		t.Errorf("delete of one who is gone: %v", err)
	}
	if err := c.AdminDeleteUser(t.Context(), "nope"); fault.CodeOf(err) != fault.Validation {
		t.Errorf("delete of no uuid: %v", err)
	}
	s.status, s.answer = http.StatusOK, `{"version":"v2","name":"GoTrue","description":"d"}`
	if err := c.Health(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s, c := newService(t)
	signIn := func() error {
		_, err := c.SignIn(t.Context(), "a@b.example", "pw")
		return err
	}
	s.status, s.answer = http.StatusBadRequest, `{"code":400,"error_code":"invalid_credentials","msg":"Invalid login credentials"}`
	if err := signIn(); fault.CodeOf(err) != fault.InvalidCredentials {
		t.Errorf("got %v", err)
	}
	if _, err := c.SignUp(t.Context(), gotrue.NewUser{Email: "a", Password: "b"}); fault.CodeOf(err) != fault.InvalidCredentials {
		t.Errorf("got %v", err)
	}
	s.status = http.StatusTemporaryRedirect
	if err := signIn(); fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "redirect") {
		t.Errorf("a redirect: %v", err)
	}
	s.status, s.answer = http.StatusOK, `{"access_token":`
	if err := signIn(); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("half an answer: %v", err)
	}
	s.answer = `{"pad":"` + strings.Repeat("x", 5<<20) + `"}`
	if err := signIn(); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("an endless answer: %v", err)
	}
	s.status, s.answer = http.StatusBadRequest, `{"code":400,"error_code":"validation_failed","msg":"x"}`
	if _, err := c.Refresh(t.Context(), "malformed"); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("a malformed refresh token: %v", err)
	}
	s.Close()
	if err := signIn(); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
}

func TestContextAndTimeout(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	entered := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-release }))
	t.Cleanup(silent.Close)
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	f, err := supabase.NewFactory(supabase.Config{URL: silent.URL, AnonKey: "a", ServiceKey: "s", Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gotrue.NewWithFactory(f).SignIn(t.Context(), "a", "b"); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("no answer in time: %v", err)
	}
	c, err := gotrue.New(srv.URL, "a", "s")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := c.SignIn(ctx, "a", "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if _, err := gotrue.New("nope", "a", "s"); err == nil {
		t.Error("a bad URL is accepted")
	}
}
