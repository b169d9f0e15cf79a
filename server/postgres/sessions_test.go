package postgres_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// session makes a session of Supabase Auth.
func (w *world) session(t *testing.T, userID string) string {
	t.Helper()
	id := api.NewID()
	w.exec(t, `insert into auth.sessions (id, user_id, created_at, updated_at) values ($1, $2, now(), now())`, id, userID)
	return id
}

// feeding runs a feed of a DB of its own until the test ends, and waits for it.
func feeding(t *testing.T, w *world, c postgres.Config) {
	t.Helper()
	c.URL = w.at.URL
	db := open(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	synced := make(chan struct{})
	var once sync.Once
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Feed(ctx, func(store.Batch) { once.Do(func() { close(synced) }) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-synced:
	case <-time.After(patience):
		t.Fatal("the feed does not begin")
	}
}

func TestEndedSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, bob := w.user(t), w.user(t)
	lives, out, banned, old := w.session(t, ann.UserID), w.session(t, ann.UserID), w.session(t, bob.UserID), w.session(t, ann.UserID)
	told := make(chan []string, 10)
	feeding(t, w, postgres.Config{OnEnded: func(sessions, _ []string) { told <- sessions }})
	w.exec(t, "delete from auth.sessions where id = $1", out)
	w.exec(t, "update auth.users set banned_until = now() + interval '1 hour' where id = $1", bob.UserID)
	w.exec(t, "update auth.sessions set not_after = now() - interval '1 minute' where id = $1", old)
	want := []string{out, banned}
	for len(want) > 0 {
		select {
		case ids := <-told:
			want = slices.DeleteFunc(want, func(id string) bool { return slices.Contains(ids, id) })
		case <-time.After(patience):
			t.Fatalf("not announced: %v", want)
		}
	}
	ended, known, err := w.EndedSessions(t.Context(), []string{lives, out, banned, old})
	slices.Sort(ended)
	gone := []string{out, banned, old}
	slices.Sort(gone)
	if err != nil || !known || !slices.Equal(ended, gone) {
		t.Errorf("ended %v, want %v, %v %v", ended, gone, known, err)
	}
	w.exec(t, "update auth.users set banned_until = null where id = $1", bob.UserID)
	if ended, _, err = w.EndedSessions(t.Context(), []string{banned}); err != nil || len(ended) != 0 {
		t.Errorf("after the ban: %v, %v", ended, err)
	}
	if ended, known, err = w.EndedSessions(t.Context(), nil); err != nil || !known || len(ended) != 0 {
		t.Errorf("of none: %v %v %v", ended, known, err)
	}
}

// Where the owner of the function may not read the sessions, it says so instead
// of calling all of them ended.
func TestSessionsThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, "alter function stark.ended_sessions(uuid[]) owner to authenticator")
	ended, known, err := w.EndedSessions(t.Context(), []string{api.NewID()})
	if err != nil || known || len(ended) != 0 {
		t.Errorf("got %v, %v, %v", ended, known, err)
	}
}

func TestTickets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann := w.user(t)
	ann.SessionID, ann.ExpiresAt = w.session(t, ann.UserID), time.Now().Add(time.Hour).Truncate(time.Second)
	ticket := must(w.CreateTicket(ctx, ann))(t)
	if left := time.Until(ticket.ExpiresAt); left <= 0 || left > time.Minute {
		t.Errorf("it is good for %s", left)
	}
	if n := value[int](t, w, "select count(*) from stark.ws_tickets where encode(secret_hash, 'escape') like '%stark_ticket%'"); n != 0 {
		t.Error("the secret is stored")
	}
	// However many try at once, one gets in.
	var wg sync.WaitGroup
	in := make(chan access.Identity, 8)
	for range 8 {
		wg.Go(func() {
			id, err := w.RedeemTicket(ctx, ticket.Ticket)
			if err == nil {
				in <- id
			} else if fault.CodeOf(err) != fault.TokenInvalid {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(in) != 1 {
		t.Fatalf("%d got in", len(in))
	}
	if id := <-in; id.UserID != ann.UserID || id.SessionID != ann.SessionID || !id.ExpiresAt.Equal(ann.ExpiresAt) {
		t.Errorf("got %+v", id)
	}
	late := must(w.CreateTicket(ctx, ann))(t)
	w.exec(t, "update stark.ws_tickets set expires_at = now()")
	_, err := w.RedeemTicket(ctx, late.Ticket)
	wantCode(t, err, fault.TokenInvalid)
	for range 32 {
		must(w.CreateTicket(ctx, ann))(t)
	}
	_, err = w.CreateTicket(ctx, ann)
	wantCode(t, err, fault.RateLimited)
	w.exec(t, "update stark.ws_tickets set expires_at = now()")
	must(w.CreateTicket(ctx, ann))(t)
	_, err = w.CreateTicket(ctx, access.Identity{NodeID: api.NewID()})
	wantCode(t, err, fault.Forbidden)
}
