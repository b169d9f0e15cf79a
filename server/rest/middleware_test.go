package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func noPods(h *harness) {
	h.db.listPods = func(access.Identity, api.PodQuery) (api.Page[api.Pod], error) { return api.Page[api.Pod]{}, nil }
}

func TestCorrelationID(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	noPods(h)
	get := func(id string) string {
		return h.do(request{method: "GET", path: "/api/pods", token: "good-viewer", header: map[string]string{"X-Correlation-ID": id}}).header.Get("X-Correlation-ID")
	}
	if got := get("cli-123.abc"); got != "cli-123.abc" {
		t.Errorf("a sane id became %q", got)
	}
	for _, bad := range []string{`a"b`, "a b", strings.Repeat("x", 300)} {
		if got := get(bad); !api.ValidID(got) {
			t.Errorf("%q became %q", bad, got)
		}
	}
	if !strings.Contains(h.logs.String(), `"correlationId":"cli-123.abc"`) {
		t.Error("the log does not carry the id")
	}
}

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, path := range []string{"/live", "/nowhere", "/api/pods"} {
		got := h.do(request{method: "GET", path: path}).header
		if got.Get("X-Content-Type-Options") != "nosniff" || got.Get("Cache-Control") != "no-store" || got.Get("Content-Security-Policy") == "" ||
			got.Get("ETag") != "" || got.Get("Server") != "" {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	noPods(h)
	for origin, allowed := range map[string]bool{
		"http://localhost:3000": true, "http://localhost": true, "https://stark.example.com": true, h.srv.URL: true,
		"https://localhost:3000": false, "https://evil.example": false, "http://localhost.evil.example": false,
		"https://stark.example.com.evil.example": false, "null": false, "http://localhost:3000/path": false,
	} {
		r := h.do(request{method: "GET", path: "/api/pods", token: "good-viewer", header: map[string]string{"Origin": origin}})
		if !allowed {
			r.fails(http.StatusForbidden, fault.Forbidden)
			if r.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s is refused and allowed", origin)
			}
			continue
		}
		r.want(http.StatusOK, nil)
		if r.header.Get("Access-Control-Allow-Origin") != origin || r.header.Get("Vary") == "" {
			t.Errorf("%s: %v", origin, r.header)
		}
	}
	pre := h.do(request{method: "OPTIONS", path: "/api/pods", header: map[string]string{
		"Origin": "http://localhost:1", "Access-Control-Request-Method": "POST",
	}})
	if pre.status != http.StatusNoContent || !strings.Contains(pre.header.Get("Access-Control-Allow-Methods"), "PATCH") {
		t.Errorf("preflight: %d %v", pre.status, pre.header)
	}
}

// The script by which other sites ask for tabs is for the pages of all; what it opens decides.
func TestTheScriptForOtherSitesIsForAll(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(d *rest.Deps) {
		d.Tab = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	})
	for path, status := range map[string]int{"/node/embed.js": http.StatusTeapot, "/node/embed": http.StatusForbidden, "/node": http.StatusForbidden, "/node/embed.js/x": http.StatusForbidden} {
		r := h.do(request{method: "GET", path: path, header: map[string]string{"Origin": "https://app.example"}})
		if r.status != status || r.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: got %d, %v", path, r.status, r.header)
		}
	}
}

// the call after the last one allowed is 429 with retryAfter, and a forged
// X-Forwarded-For does not reset the count.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(d *rest.Deps) {
		// So long that no machine is slow enough for a place to come free meanwhile.
		d.Config.APIRate = rest.Rate{Requests: 100, Per: 100 * 24 * time.Hour}
		d.Config.AuthRate = rest.Rate{Requests: 10, Per: 100 * 24 * time.Hour}
	})
	noPods(h)
	h.auth.signIn = func(string, string) (api.Session, error) {
		return api.Session{}, fault.New(fault.InvalidCredentials, "wrong e-mail or password")
	}
	call := func(n int, r request, allowed int) {
		t.Helper()
		for i := range n {
			r.header = map[string]string{"X-Forwarded-For": "198.51.100." + strconv.Itoa(i%200), "X-Real-IP": "198.51.100.7"}
			got := h.do(r)
			if i < allowed {
				if got.status == http.StatusTooManyRequests || got.header.Get("RateLimit-Limit") == "" {
					t.Fatalf("call %d: %d", i+1, got.status)
				}
				continue
			}
			b := got.fails(http.StatusTooManyRequests, fault.RateLimited)
			if b.RetryAfter < 1 || got.header.Get("Retry-After") != strconv.Itoa(b.RetryAfter) || got.header.Get("RateLimit-Remaining") != "0" {
				t.Errorf("call %d: %v %v", i+1, b, got.header)
			}
		}
	}
	login := request{method: "POST", path: "/auth/login", body: map[string]any{"email": "a@b.example", "password": "x"}}
	call(11, login, 10)
	login.token = "good-viewer" // a valid token buys no further guesses
	call(1, login, 0)
	call(101, request{method: "GET", path: "/api/pods", token: "good-viewer"}, 100)
	call(1, request{method: "GET", path: "/api/pods", token: "good-admin"}, 1) // another user, same address
	call(101, request{method: "GET", path: "/api/pods", token: "forged"}, 100)
	for range 20 {
		h.do(request{method: "GET", path: "/live"})
	}
	if r := h.do(request{method: "GET", path: "/live"}); r.status != http.StatusOK {
		t.Errorf("health is limited: %d", r.status)
	}
}

// Behind a configured proxy the last hop that is not ours is the caller.
func TestTrustedProxy(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(d *rest.Deps) {
		d.Config.APIRate = rest.Rate{Requests: 2, Per: time.Hour}
		d.Config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	get := func(forwarded string) int {
		return h.do(request{method: "GET", path: "/api/pods", header: map[string]string{"X-Forwarded-For": forwarded}}).status
	}
	for i, step := range []struct {
		forwarded string
		want      int
	}{
		{"203.0.113.1", http.StatusUnauthorized},
		{"198.51.100.1, 203.0.113.1, 10.1.1.1", http.StatusUnauthorized}, // the first entry is the caller's own claim
		{"198.51.100.2, 203.0.113.1", http.StatusTooManyRequests},
		{"203.0.113.2", http.StatusUnauthorized},
		{"2001:db8::1", http.StatusUnauthorized},
		{"2001:db8::2", http.StatusUnauthorized}, // the same /64
		{"2001:db8::3", http.StatusTooManyRequests},
		{"nonsense", http.StatusUnauthorized}, // the proxy itself
	} {
		if got := get(step.forwarded); got != step.want {
			t.Errorf("step %d, %q: %d, want %d", i, step.forwarded, got, step.want)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	ready := error(nil)
	h := newHarness(t, func(d *rest.Deps) { d.Ready = func() error { return ready } })
	var got struct {
		Status, Version string
		Checks          map[string]struct{ Status, Error string }
	}
	r := h.do(request{method: "GET", path: "/health"})
	if err := json.Unmarshal(r.raw, &got); err != nil || r.status != http.StatusOK || got.Status != "healthy" || got.Version != "1.2.3" || got.Checks["database"].Status != "up" {
		t.Errorf("%d %s", r.status, r.raw)
	}
	for _, path := range []string{"/ready", "/live"} {
		if r := h.do(request{method: "GET", path: path}); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, r.status, r.raw)
		}
	}
	ready = errors.New("draining")
	if r := h.do(request{method: "GET", path: "/ready"}); r.status != http.StatusServiceUnavailable {
		t.Errorf("draining: %d", r.status)
	}
}

func TestHealthProbesForReal(t *testing.T) {
	t.Parallel()
	down := newHarness(t)
	down.db.ping = func(context.Context) error { return errors.New("password authentication failed for user postgres") }
	r := down.do(request{method: "GET", path: "/health"})
	if r.status != http.StatusServiceUnavailable || !strings.Contains(string(r.raw), `"unhealthy"`) || strings.Contains(string(r.raw), "password") {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := down.do(request{method: "GET", path: "/ready"}); r.status != http.StatusServiceUnavailable {
		t.Errorf("ready: %d", r.status)
	}
	degraded := newHarness(t)
	degraded.auth.health = func() error { return fault.New(fault.Unavailable, "away") }
	if r := degraded.do(request{method: "GET", path: "/health"}); r.status != http.StatusOK || !strings.Contains(string(r.raw), `"degraded"`) {
		t.Errorf("%d %s", r.status, r.raw)
	}
	cut := newHarness(t)
	cut.model.SetStale(true)
	if r := cut.do(request{method: "GET", path: "/ready"}); r.status != http.StatusServiceUnavailable {
		t.Errorf("ready while cut off: %d", r.status)
	}
	empty := newHarness(t, func(d *rest.Deps) { d.Store, d.WS = store.New(), nil })
	if r := empty.do(request{method: "GET", path: "/ready"}); r.status != http.StatusServiceUnavailable {
		t.Errorf("ready before the first snapshot: %d", r.status)
	}
}

func TestMetricsAndSocket(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.do(request{method: "GET", path: "/api/pods/" + someID})
	h.do(request{method: "BREW", path: "/api/pods/" + someID})
	r := h.do(request{method: "GET", path: "/metrics"})
	text := string(r.raw)
	if !strings.Contains(text, `stark_http_requests_total{method="GET",route="/api/pods/:id",status="401"} 1`) || strings.Contains(text, someID) || strings.Contains(text, "BREW") {
		t.Errorf("got %s", text)
	}
	if r := h.do(request{method: "GET", path: "/ws"}); r.status != http.StatusTeapot {
		t.Errorf("the socket's handler was not called: %d", r.status)
	}
}
