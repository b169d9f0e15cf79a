package postgres_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// relay stands between a DB and its Postgres; while its gate is held it passes
// nothing on and closes nothing, as a machine that has stopped does.
type relay struct {
	gate sync.RWMutex
	wg   sync.WaitGroup
}

// relayTo gives the address of a relay to the database.
func relayTo(t *testing.T, address string) (*relay, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	to := u.Host
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{}
	r.wg.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			back, err := new(net.Dialer).DialContext(t.Context(), "tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			r.wg.Go(func() { r.copy(back, from) })
			r.wg.Go(func() { r.copy(from, back) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); r.wg.Wait() })
	u.Host = l.Addr().String()
	return r, u.String()
}

func (r *relay) copy(to io.WriteCloser, from io.Reader) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		r.gate.RLock()
		r.gate.RUnlock() //nolint:staticcheck // it only waits for the gate
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
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

	r.gate.Lock()
	unavailable := func(what string, most time.Duration, call func(context.Context) error) {
		t.Helper()
		started := time.Now()
		err := call(ctx)
		if took := time.Since(started); took > most {
			t.Errorf("%s took %s", what, took)
		}
		wantCode(t, err, fault.Unavailable)
	}
	get := func(ctx context.Context) error { _, err := db.GetPack(ctx, ann, k.ID); return err }
	create := func(ctx context.Context) error {
		_, err := db.CreatePod(ctx, ann, api.CreatePodRequest{PackID: k.ID})
		return err
	}
	unavailable("the first read", 4*time.Second, get)
	unavailable("a write right after it", 2*time.Second, create)
	unavailable("the roles of a user", 2*time.Second, func(ctx context.Context) error {
		_, _, err := db.UserRoles(ctx, ann.UserID)
		return err
	})
	for s := range stale {
		if s {
			break
		}
	}
	unavailable("a read while it is away", 3*time.Second, get)
	unavailable("a write while it is away", 3*time.Second, create)
	r.gate.Unlock()
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
