package devstack_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/supabase/devstack"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

func start(t *testing.T, o devstack.Options) *devstack.Stack {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	log := loggingtest.New(t)
	o.Logger = log.Logger
	s, err := devstack.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	log.Secret(s.JWTSecret, s.AnonKey, s.ServiceRoleKey, s.PublishableKey, s.SecretKey)
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *devstack.Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// call sends one request through the gateway and returns status and decoded body.
func call(t *testing.T, method, url, body string, header ...string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]any
	if len(text) > 0 && json.Unmarshal(text, &decoded) != nil {
		decoded = map[string]any{"text": string(text)}
	}
	return resp.StatusCode, decoded
}

func TestTheProjectRunsOnTheStack(t *testing.T) {
	t.Parallel()
	o := devstack.Options{
		Dir: t.TempDir(), TemplateKey: "stack-test",
		Prepare: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := migrate.Up(ctx, conn)
			return err
		},
	}
	first := start(t, o)
	if !first.FirstStart {
		t.Error("FirstStart is not set")
	}
	status, session := call(t, "POST", first.URL+"/auth/v1/signup", `{"email":"a@example.org","password":"Passw0rdPassw0rd"}`, "apikey", first.PublishableKey)
	if status != http.StatusOK {
		t.Fatalf("sign-up = %d %v", status, session)
	}
	status, bucket := call(t, "GET", first.URL+"/storage/v1/bucket/pack-bundles", "", "apikey", first.SecretKey)
	if status != http.StatusOK || bucket["public"] != false {
		t.Errorf("bucket = %d %v", status, bucket)
	}
	status, pods := call(t, "GET", first.URL+"/rest/v1/pods?select=id&limit=1", "", "apikey", first.SecretKey)
	if status != http.StatusOK || pods["text"] != "[]" {
		t.Errorf("pods = %d %v", status, pods)
	}
	again, err := devstack.Start(t.Context(), o)
	if err == nil {
		stop(t, again)
		t.Fatal("a second start on the same folder worked")
	}
	if !strings.Contains(err.Error(), "is held by process") {
		t.Errorf("second start: %v, want who holds the folder", err)
	}
	stop(t, first)
	for _, left := range []string{"lock", "run"} {
		if _, err := os.Stat(filepath.Join(o.Dir, left)); err == nil {
			t.Errorf("%s is left behind", left)
		}
	}
	second := start(t, o)
	if second.FirstStart || second.AnonKey != first.AnonKey {
		t.Error("the second start has other keys or a new database")
	}
	status, user := call(t, "GET", second.URL+"/auth/v1/user", "", "apikey", second.AnonKey,
		"Authorization", "Bearer "+session["access_token"].(string))
	if status != http.StatusOK || user["email"] != "a@example.org" {
		t.Errorf("user after the restart = %d %v", status, user)
	}
}

func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	o := devstack.Options{Dir: t.TempDir(), Config: []byte{}}
	first := start(t, o)
	const person = `{"email":"a@example.org","password":"Passw0rdPassw0rd"}`
	if status, body := call(t, "POST", first.URL+"/auth/v1/signup", person, "apikey", first.AnonKey); status != http.StatusOK {
		t.Fatalf("sign-up = %d %v", status, body)
	}
	if err := syscall.Kill(first.Postgres.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// While it is away sign-ins fail at once and health does not notice; then everything is back, in place.
	deadline := time.Now().Add(time.Minute)
	for {
		if status, _ := call(t, "GET", first.URL+"/auth/v1/health", "", "apikey", first.AnonKey); status != http.StatusOK {
			t.Fatalf("health without Postgres = %d", status)
		}
		status, body := call(t, "POST", first.URL+"/auth/v1/token?grant_type=password", person, "apikey", first.AnonKey)
		if status == http.StatusOK {
			break
		}
		if status != http.StatusInternalServerError || body["error_code"] != "unexpected_failure" {
			t.Fatalf("sign-in without Postgres = %d %v", status, body)
		}
		if time.Now().After(deadline) {
			t.Fatal("Postgres does not come back")
		}
	}
	stop(t, first)
	second := start(t, o)
	if status, body := call(t, "POST", second.URL+"/auth/v1/token?grant_type=password", person, "apikey", second.AnonKey); status != http.StatusOK {
		t.Errorf("sign-in after the restart = %d %v", status, body)
	}
}

func TestTakenPorts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	for _, o := range []devstack.Options{
		{Dir: dir, Port: port, ExactPorts: true},
		{Dir: dir, DBPort: port, ExactPorts: true},
	} {
		if s, err := devstack.Start(t.Context(), o); err == nil {
			stop(t, s)
			t.Error("a start on a taken port worked")
		}
	}
	s := start(t, devstack.Options{Dir: dir, Port: port, DBPort: port, Config: []byte{}})
	if s.URL == "http://"+taken.Addr().String() || s.Postgres.Port == port {
		t.Errorf("URL %s and database port %d claim the taken port", s.URL, s.Postgres.Port)
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]devstack.Options{
		"no folder":      {},
		"no TOML":        {Dir: t.TempDir(), Config: []byte("[")},
		"unknown policy": {Dir: t.TempDir(), Config: []byte("[auth]\npassword_requirements = \"x\"")},
		"bad hook":       {Dir: t.TempDir(), Config: []byte("[auth.hook.custom_access_token]\nenabled = true\nuri = \"http://x\"")},
		"bad cost":       {Dir: t.TempDir(), PasswordCost: 3},
		"bad size":       {Dir: t.TempDir(), Config: []byte("[storage.buckets.b]\nfile_size_limit = \"many\"")},
	} {
		s, err := devstack.Start(t.Context(), o)
		if err == nil {
			stop(t, s)
			t.Errorf("%s: Start worked", name)
		}
		if _, err := os.Stat(filepath.Join(o.Dir, "lock")); o.Dir != "" && err == nil {
			t.Errorf("%s: the lock is left behind", name)
		}
	}
}

// A stack that is already running tells a second one so, whoever asks.
var _ error = (*pg.LockedError)(nil)
