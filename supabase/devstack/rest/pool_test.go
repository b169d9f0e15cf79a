package rest_test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg/pgtest"
	"github.com/stark-orchestrator/stark/supabase/devstack/rest"
)

// TestConnectionsForgetTheirCaller lets many callers share one connection.
func TestConnectionsForgetTheirCaller(t *testing.T) {
	t.Parallel()
	var pool *pgxpool.Pool
	w := newWorld(t, func(c *rest.Config) {
		config := c.Pool.Config()
		config.MaxConns = 1
		var err error
		if pool, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		c.Pool = pool
	})
	service := "Authorization: Bearer " + w.keys.ServiceRoleKey
	w.want(w.do("POST", "/notes?select=id", `[{"id":1,"owner":"`+alice+`"},{"id":2,"owner":"`+bob+`"}]`, back, service), 201, `[{"id":1},{"id":2}]`)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() { w.want(w.do("GET", "/notes?select=id", "", w.as(alice)), 200, `[{"id":1}]`) })
		group.Go(func() { w.want(w.do("GET", "/notes?select=id", "", w.as(bob)), 200, `[{"id":2}]`) })
		group.Go(func() { w.want(w.do("GET", "/notes?select=id&order=id", "", service), 200, `[{"id":1},{"id":2}]`) })
		group.Go(func() { w.refused(w.do("GET", "/notes", ""), http.StatusUnauthorized, "42501") })
		group.Go(func() { w.refused(w.do("GET", "/notes?id=eq.x", "", service), http.StatusBadRequest, "22P02") })
	}
	group.Wait()
	var role, claims, timeout string
	err := pool.QueryRow(t.Context(), `select current_user, coalesce(current_setting('request.jwt.claims', true), ''), current_setting('statement_timeout')`).
		Scan(&role, &claims, &timeout)
	if err != nil || role != "authenticator" || claims != "" || timeout != "8s" {
		t.Errorf("left on the connection: %q %q %q %v", role, claims, timeout, err)
	}
}

func TestPostgresDown(t *testing.T) {
	t.Parallel()
	own, err := pg.Start(t.Context(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if err := own.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	w := newWorld(t, func(c *rest.Config) { c.Pool = pgtest.Pool(t, own, "authenticator", "postgres") })
	w.refused(w.do("GET", "/absent", ""), 404, "PGRST205")
	stop()
	// The pool first finds its connections dead, and then nobody to connect to.
	for range 3 {
		if a := w.do("GET", "/absent", ""); a.status != http.StatusServiceUnavailable || a.code() == "" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := rest.New(rest.Config{MaxRows: -1}); err == nil {
		t.Error("New took an empty configuration")
	}
}
