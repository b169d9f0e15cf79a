package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// fakeAuth gives each refresh token out once, as GoTrue does, and answers
// GET /auth/me for the newest access token.
type fakeAuth struct {
	mu        sync.Mutex
	current   int
	refreshes atomic.Int32
	broken    atomic.Bool // refreshes fail with 503
}

func (f *fakeAuth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.URL.Path {
	case "/auth/refresh":
		f.refreshes.Add(1)
		var in api.RefreshRequest
		switch err := json.NewDecoder(r.Body).Decode(&in); {
		case f.broken.Load():
			fail(w, fault.New(fault.Unavailable, "busy"))
		case err != nil || in.RefreshToken != fmt.Sprint("refresh-", f.current):
			fail(w, fault.New(fault.TokenInvalid, "the refresh token has been used"))
		default:
			f.current++
			answer(w, api.Session{
				AccessToken: fmt.Sprint("access-", f.current), RefreshToken: fmt.Sprint("refresh-", f.current),
				ExpiresAt: time.Now().Add(time.Hour),
			})
		}
	case "/auth/me":
		if r.Header.Get("Authorization") != fmt.Sprint("Bearer access-", f.current) {
			fail(w, fault.New(fault.TokenExpired, "the token has expired"))
			return
		}
		answer(w, map[string]any{"user": api.User{ID: "u", Email: "me@example.com"}})
	default:
		fail(w, fault.New(fault.NotFound, "no such route"))
	}
}

func answer(w http.ResponseWriter, data any) {
	_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "data": data})
}

func fail(w http.ResponseWriter, e *fault.Error) {
	w.WriteHeader(fault.Status(e.Code))
	_ = json.NewEncoder(w).Encode(fault.ToEnvelope(e))
}

// signedIn gives a home with the first session of a fakeAuth.
func signedIn(t *testing.T, f http.Handler, expires time.Duration) (h home, url string) {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	h = home(t.TempDir())
	err := h.credentials().put(t.Context(), srv.URL, api.Session{
		User: api.User{ID: "u", Email: "me@example.com"}, AccessToken: "access-0", RefreshToken: "refresh-0", ExpiresAt: time.Now().Add(expires),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, srv.URL
}

func TestProcessesRefreshASessionOnce(t *testing.T) {
	t.Parallel()
	f := &fakeAuth{}
	h, url := signedIn(t, f, time.Second)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const processes = 8
	var wg sync.WaitGroup
	for range processes {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), exe, "auth", "whoami", "--api-url", url)
			cmd.Env = append(os.Environ(), asStark+"=1", "STARK_HOME="+string(h))
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "me@example.com") {
				t.Errorf("whoami: %v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	if n := f.refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	if l, ok, err := h.credentials().get(url); err != nil || !ok || l.RefreshToken != "refresh-1" || l.Email != "me@example.com" {
		t.Errorf("kept: %+v, %t, %v", l, ok, err)
	}
}

func TestATokenThatTheServerCallsExpiredIsRenewed(t *testing.T) {
	t.Parallel()
	f := &fakeAuth{current: 0}
	h, url := signedIn(t, f, time.Hour)
	f.mu.Lock()
	f.current = 0
	f.mu.Unlock()
	s := &session{store: h.credentials(), url: url}
	token, err := s.Refresh(t.Context(), "access-0")
	if err != nil || token != "access-1" {
		t.Fatalf("Refresh = %q, %v", token, err)
	}
	again, err := s.Refresh(t.Context(), "access-0") // what another caller still held
	if err != nil || again != "access-1" || f.refreshes.Load() != 1 {
		t.Errorf("second Refresh = %q, %v, after %d refreshes", again, err, f.refreshes.Load())
	}
}

func TestAnEndedSessionSaysSo(t *testing.T) {
	t.Parallel()
	f := &fakeAuth{current: 7}
	h, url := signedIn(t, f, -time.Minute)
	got := run(t, map[string]string{"STARK_HOME": string(h), "STARK_API_URL": url}, "", "auth", "whoami")
	if got.code != exitNotAllowed || !strings.Contains(got.stderr, "has ended") || !strings.Contains(got.stderr, "stark auth login") {
		t.Errorf("code %d, stderr %q", got.code, got.stderr)
	}
	if strings.Contains(got.stderr, "refresh-0") || strings.Contains(got.stderr, "access-0") {
		t.Errorf("a token is on the screen: %q", got.stderr)
	}
}

func TestATokenOutlivesABusyServer(t *testing.T) {
	t.Parallel()
	f := &fakeAuth{}
	f.broken.Store(true)
	h, url := signedIn(t, f, 20*time.Second) // below the skew, but good
	token, err := (&session{store: h.credentials(), url: url}).Token(t.Context())
	if err != nil || token != "access-0" {
		t.Errorf("Token = %q, %v; want the old one", token, err)
	}
	h, url = signedIn(t, f, -time.Second)
	if _, err := (&session{store: h.credentials(), url: url}).Token(t.Context()); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("an expired token at a busy server: %v", err)
	}
}

func TestCredentialsAreForTheOwnerAlone(t *testing.T) {
	t.Parallel()
	h, url := signedIn(t, &fakeAuth{}, time.Hour)
	if err := os.Chmod(string(h), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := h.credentials().remove(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{string(h): 0o700, h.path(credentialsFile): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}
