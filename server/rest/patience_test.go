package rest_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A frozen Postgres freezes Auth with it: whoever signs in hears so in seconds, and
// a call to Auth that is merely slow is waited for.
func TestSigningInWhilePostgresIsFrozen(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.auth.signInFor = func(ctx context.Context) (api.Session, error) { <-ctx.Done(); return api.Session{}, ctx.Err() }
	h.db.ping = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	login := request{method: "POST", path: "/auth/login", body: map[string]any{"email": "a@b.example", "password": goodPassword}}
	r := h.do(login)
	r.fails(http.StatusServiceUnavailable, fault.Unavailable) // not that the request's own time is up
	if r.header.Get("Retry-After") == "" {
		t.Error("not told when to come back")
	}
	asked := make(chan struct{})
	h.db.ping = func(context.Context) error { close(asked); return nil }
	h.auth.signInFor = func(context.Context) (api.Session, error) { <-asked; return sessionFor("viewer"), nil }
	h.do(login).want(http.StatusOK, nil)
}

func TestMetricsAreNotForEverybody(t *testing.T) {
	t.Parallel()
	afar := map[string]string{"X-Real-IP": "203.0.113.9"}
	open := newHarness(t)
	open.do(request{method: "GET", path: "/metrics", header: afar}).fails(http.StatusForbidden, fault.Forbidden)
	if r := open.do(request{method: "GET", path: "/metrics"}); r.status != http.StatusOK {
		t.Errorf("on the same machine: %d", r.status)
	}
	const token = "a-token-for-the-metrics"
	h := newHarness(t, func(d *rest.Deps) { d.Config.MetricsToken = token })
	h.do(request{method: "GET", path: "/metrics"}).fails(http.StatusUnauthorized, fault.AuthenticationRequired)
	h.do(request{method: "GET", path: "/metrics", token: token + "x"}).fails(http.StatusUnauthorized, fault.TokenInvalid)
	if r := h.do(request{method: "GET", path: "/metrics", token: token, header: afar}); r.status != http.StatusOK {
		t.Errorf("with the token: %d %s", r.status, r.raw)
	}
}
