package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// someID is the id of a pod that no server here has.
const someID = "01a208b6-f30e-75d9-81fe-a7f057bd6384"

func TestExitCodesFollowTheFault(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault *fault.Error
		code  int
		says  string
	}{
		{fault.New(fault.NotFound, "pod not found"), 1, "error: pod \"01a208b6-f30e-75d9-81fe-a7f057bd6384\" not found\n"},
		{fault.New(fault.Forbidden, "no right"), 4, "stark auth whoami"},
		{fault.New(fault.TokenInvalid, "bad token"), 4, "STARK_TOKEN"},
		{fault.New(fault.QuotaExceeded, "quota"), 1, "quota"},
		{fault.New(fault.Unavailable, "the database is away"), 1, "stark status"},
		{&fault.Error{Code: fault.RateLimited, Message: "slow down", RetryAfter: 3 * time.Second}, 1, "try again in 3s"},
		{fault.New(fault.Internal, "an internal error occurred"), 1, "internal"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fail(w, tt.fault) }))
		env := map[string]string{"STARK_HOME": t.TempDir(), "STARK_API_URL": srv.URL, "STARK_TOKEN": "t"}
		got := run(t, env, "", "pod", "status", someID)
		if got.code != tt.code || !strings.Contains(got.stderr, tt.says) || got.stdout != "" {
			t.Errorf("%s: code %d, stdout %q, stderr %q", tt.fault.Code, got.code, got.stdout, got.stderr)
		}
		got = run(t, env, "", "pod", "status", someID, "-o", "json")
		var envelope fault.Envelope
		if err := json.Unmarshal([]byte(got.stderr), &envelope); err != nil || envelope.Success || envelope.Error.Code != tt.fault.Code || got.stdout != "" {
			t.Errorf("%s as JSON: %v, %q", tt.fault.Code, err, got.stderr)
		}
		srv.Close()
	}
}

func TestInterruptedCommandsSaySo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer srv.Close()
	var out, errOut strings.Builder
	env := map[string]string{"STARK_HOME": t.TempDir(), "STARK_API_URL": srv.URL, "STARK_TOKEN": "t"}
	code := Run(ctx, []string{"pod", "list"}, func(k string) string { return env[k] }, strings.NewReader(""), &out, &errOut)
	if code != 1 || errOut.String() != "interrupted\n" {
		t.Errorf("code %d, stderr %q", code, errOut.String())
	}
}

func TestSetupSendsTheCodeOfTheServer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth/setup/status" {
			answer(w, api.SetupStatus{NeedsSetup: true, CodeRequired: true})
			return
		}
		var in api.RegisterRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.SetupCode != "code-1" || in.Password != "Secret-pw-1" {
			fail(w, fault.New(fault.Forbidden, "wrong code"))
			return
		}
		answer(w, api.Session{User: api.User{ID: "u", Email: in.Email, Roles: []api.Role{api.RoleAdmin}}, AccessToken: "a", ExpiresAt: time.Now().Add(time.Hour)})
	}))
	defer srv.Close()
	env := map[string]string{"STARK_HOME": t.TempDir(), "STARK_API_URL": srv.URL}
	args := []string{"auth", "setup", "--email", "a@b.c", "--password-stdin", "--setup-code-stdin"}
	if got := run(t, env, "Secret-pw-1\r\ncode-1", args...); got.code != 0 || !strings.Contains(got.stdout, "signed in at "+srv.URL+" as a@b.c (admin)") {
		t.Errorf("setup: %+v", got)
	}
	if got := run(t, env, "Secret-pw-1\nwrong\n", args...); got.code != 4 || strings.Contains(got.stderr, "Secret-pw") {
		t.Errorf("wrong code: %+v", got)
	}
	if got := run(t, env, "Secret-pw-1\n", args...); got.code != 1 || !strings.Contains(got.stderr, "setup-code-stdin from stdin") {
		t.Errorf("no code: %+v", got)
	}
	if got := run(t, env, strings.Repeat("x", maxLine+1), args...); got.code != 1 || !strings.Contains(got.stderr, "too long") {
		t.Errorf("long line: %d, %.100s", got.code, got.stderr)
	}
}

func TestSupabaseFailures(t *testing.T) {
	t.Parallel()
	if err := supabaseFailure(&exec.Error{Name: "supabase", Err: exec.ErrNotFound}); !strings.Contains(err.Error(), "not installed") {
		t.Error(err)
	}
	if err := supabaseFailure(&exec.ExitError{Stderr: []byte("failed to inspect\nmore")}); err.Error() != "supabase status: failed to inspect" {
		t.Error(err)
	}
	if err := supabaseFailure(errors.New("x")); err.Error() != "supabase status: x" {
		t.Error(err)
	}
}
