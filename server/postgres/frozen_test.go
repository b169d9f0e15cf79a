package postgres_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/relaytest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// relayTo gives the address of a relay to the database.
func relayTo(t *testing.T, address string) (*relaytest.Relay, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	r, err := relaytest.New(t.Context(), relaytest.To(u.Host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	u.Host = r.Addr()
	return r, u.String()
}

// A Postgres that stops without a word is found out in seconds, refuses with a
// time to come back, and is used again when it goes on.
func TestFrozenPostgres(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	r, address := relayTo(t, w.at.URL)
	stale := make(chan bool, 8)
	db := open(t, postgres.Config{URL: address, OnStale: func(s bool) { stale <- s }})
	feed(t, db)
	ctx := t.Context()
	must(db.GetPack(ctx, ann, k.ID))(t)

	r.Freeze()
	unavailable := func(what string, call func(context.Context) error) {
		t.Helper()
		request, done := context.WithTimeout(ctx, 30*time.Second) // as REST has it
		defer done()
		wantCode(t, call(request), fault.Unavailable)
		if request.Err() != nil {
			t.Errorf("%s takes longer than a request", what)
		}
	}
	get := func(ctx context.Context) error { _, err := db.GetPack(ctx, ann, k.ID); return err }
	create := func(ctx context.Context) error {
		_, err := db.CreatePod(ctx, ann, api.CreatePodRequest{PackID: k.ID})
		return err
	}
	unavailable("the first read", get)
	unavailable("a write right after it", create)
	unavailable("the roles of a user", func(ctx context.Context) error {
		_, _, err := db.UserRoles(ctx, ann.UserID)
		return err
	})
	for s := range stale {
		if s {
			break
		}
	}
	unavailable("a read while it is away", get)
	unavailable("a write while it is away", create)
	r.Thaw()
	for s := range stale {
		if !s {
			break
		}
	}
	must(db.GetPack(ctx, ann, k.ID))(t)
	if err := create(ctx); err != nil {
		t.Error(err)
	}
}
