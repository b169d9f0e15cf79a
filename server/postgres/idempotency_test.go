package postgres_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/idempotency"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func keyed(t *testing.T, owner, asked string, hold time.Duration) idempotency.Write {
	t.Helper()
	return must(idempotency.New(owner, "k", hold, []byte(asked)))(t)
}

// TestOneClaimForAllServers asks on two servers at once.
func TestOneClaimForAllServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := open(t, postgres.Config{URL: w.at.URL})
	ann := w.user(t, api.RoleDeveloper).UserID
	var all sync.WaitGroup
	var mu sync.Mutex
	var mine []idempotency.Write
	ids := map[string]bool{}
	const each = 8
	for range each {
		for _, db := range []*postgres.DB{w.DB, other} {
			all.Go(func() {
				asked := keyed(t, ann, "x", time.Minute)
				c, err := db.ClaimWrite(t.Context(), asked)
				for fault.CodeOf(err) == fault.Unavailable && t.Context().Err() == nil { // too many connections at once for a busy machine
					c, err = db.ClaimWrite(t.Context(), asked)
				}
				mu.Lock()
				defer mu.Unlock()
				if ids[c.ObjectID] = true; err != nil || c.Other || c.Sealed != nil {
					t.Errorf("got %+v, %v", c, err)
				}
				if c.Mine {
					mine = append(mine, asked)
				}
			})
		}
	}
	all.Wait()
	if len(mine) != 1 || len(ids) != 1 {
		t.Fatalf("%d have the claim, of the objects %v, want one", len(mine), ids)
	}
	if again := must(w.ClaimWrite(t.Context(), mine[0]))(t); !again.Mine {
		t.Error("who has the claim has lost it by asking again")
	}
	if c := must(other.ClaimWrite(t.Context(), keyed(t, ann, "y", time.Minute)))(t); !c.Other || c.Mine {
		t.Errorf("got %+v, want to be told of the other request", c)
	}
	if c := must(other.ClaimWrite(t.Context(), keyed(t, w.user(t, api.RoleDeveloper).UserID, "y", time.Minute)))(t); !c.Mine || c.Other {
		t.Errorf("got %+v, want the key of another user to be another key", c)
	}
	if err := w.AnswerWrite(t.Context(), mine[0], []byte("sealed")); err != nil {
		t.Fatal(err)
	}
	if c := must(other.ClaimWrite(t.Context(), keyed(t, ann, "x", time.Minute)))(t); c.Mine || !bytes.Equal(c.Sealed, []byte("sealed")) {
		t.Errorf("got %+v, want the answer", c)
	}
}

// TestClaimOfADeadServer is taken over with the same object, and what the dead one
// says later does not count.
func TestClaimOfADeadServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper).UserID
	dead := keyed(t, ann, "x", -time.Second) // heard of for too long
	first := must(w.ClaimWrite(t.Context(), dead))(t)
	next := keyed(t, ann, "x", time.Minute)
	second := must(w.ClaimWrite(t.Context(), next))(t)
	if !first.Mine || first.Again || !second.Mine || !second.Again || first.ObjectID != second.ObjectID {
		t.Fatalf("got %+v, then %+v, want the second try of one object", first, second)
	}
	for _, err := range []error{w.AnswerWrite(t.Context(), dead, []byte("late")), w.ReleaseWrite(t.Context(), dead, true)} {
		if err != nil {
			t.Error(err)
		}
	}
	if c := must(w.ClaimWrite(t.Context(), keyed(t, ann, "x", time.Minute)))(t); c.Mine || c.Sealed != nil || c.ObjectID != second.ObjectID {
		t.Errorf("got %+v, want the claim of the second", c)
	}

	// A failure leaves the object to the next try, a refusal leaves nothing.
	if err := w.ReleaseWrite(t.Context(), next, false); err != nil {
		t.Fatal(err)
	}
	third := keyed(t, ann, "x", time.Minute)
	if c := must(w.ClaimWrite(t.Context(), third))(t); !c.Mine || c.ObjectID != second.ObjectID {
		t.Errorf("got %+v, want the same object", c)
	}
	if err := w.ReleaseWrite(t.Context(), third, true); err != nil {
		t.Fatal(err)
	}
	if c := must(w.ClaimWrite(t.Context(), keyed(t, ann, "y", time.Minute)))(t); !c.Mine || c.ObjectID == second.ObjectID {
		t.Errorf("got %+v, want a key like a new one", c)
	}
}

// TestPodIsMadeOnce makes a pod again under its id, as the server does that takes over.
func TestPodIsMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	ask := api.CreatePodRequest{ID: api.NewID(), PackID: k.ID}
	first, again := must(w.CreatePod(t.Context(), ann, ask))(t), must(w.CreatePod(t.Context(), ann, ask))(t)
	if first.ID != ask.ID || again.ID != ask.ID || again.ResourceVersion != first.ResourceVersion {
		t.Errorf("got %+v, then %+v", first, again)
	}
	bob := w.user(t, api.RoleDeveloper)
	ask.PackID = w.pack(t, bob, "other", "1.0.0").ID
	if p, err := w.CreatePod(t.Context(), bob, ask); err == nil {
		t.Errorf("the pod of another was given: %+v", p)
	}
}

// TestObjectsAreMadeOnce makes nodes, namespaces, classes and join tokens again under
// their ids, as the server does that takes over from one that died before it answered.
func TestObjectsAreMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann := w.user(t, api.RoleAdmin)
	id, other := api.NewID(), api.NewID()
	makers := map[string]func(id, name string) (string, error){
		"node": func(id, name string) (string, error) {
			n, err := w.CreateNode(ctx, ann, api.RegisterNodeRequest{ID: id, Name: name, RuntimeType: api.RuntimeNode})
			return n.ID, err
		},
		"namespace": func(id, name string) (string, error) {
			n, err := w.CreateNamespace(ctx, ann, api.CreateNamespaceRequest{ID: id, Name: name})
			return n.ID, err
		},
		"priority class": func(id, name string) (string, error) {
			c, err := w.CreatePriorityClass(ctx, ann, api.PriorityClass{ID: id, Name: name, Value: 7, PreemptionPolicy: api.PreemptNever})
			return c.ID, err
		},
	}
	for kind, create := range makers {
		for range 2 {
			if got, err := create(id, "one"); err != nil || got != id {
				t.Errorf("%s: got %s, %v; want %s", kind, got, err, id)
			}
		}
		if got, err := create(other, "one"); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("%s: another request for the name is given %s, %v", kind, got, err)
		}
		if got, err := create("", "one"); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("%s: a request without a key is given %s, %v", kind, got, err)
		}
		if got, err := create("", "two"); err != nil || got == "" || got == id {
			t.Errorf("%s: got %s, %v; want a new one", kind, got, err)
		}
	}
	// Of a join token the secret was lost with the answer: it gets another.
	ask := api.CreateJoinTokenRequest{ID: id, Uses: 3}
	first, again := must(w.CreateJoinToken(ctx, ann, ask))(t), must(w.CreateJoinToken(ctx, ann, ask))(t)
	if first.ID != id || again.ID != id || first.Token == again.Token || again.Token == "" {
		t.Errorf("got %+v, then %+v", first, again)
	}
	if all := must(w.ListJoinTokens(ctx, ann))(t); len(all) != 1 {
		t.Errorf("there are %d tokens", len(all))
	}
	if _, err := w.CreateJoinToken(ctx, w.user(t, api.RoleAdmin), ask); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("the token of another: %v", err)
	}
	w.exec(t, "update stark.join_tokens set uses = 2")
	if _, err := w.CreateJoinToken(ctx, ann, ask); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("a token that was used: %v", err)
	}
}

func TestAnswersAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper).UserID
	kept := keyed(t, ann, "x", time.Minute)
	must(w.ClaimWrite(t.Context(), kept))(t)
	if err := w.AnswerWrite(t.Context(), kept, []byte("sealed")); err != nil {
		t.Fatal(err)
	}
	age := func(by string) {
		t.Helper()
		if _, err := w.conn.Exec(t.Context(), "update stark.idempotent_writes set created_at = created_at - $1::interval", by); err != nil {
			t.Fatal(err)
		}
	}
	age("23 hours 59 minutes")
	if c := must(w.ClaimWrite(t.Context(), keyed(t, ann, "x", time.Minute)))(t); c.Sealed == nil {
		t.Error("the answer is gone within a day")
	}
	age("2 minutes")
	if c := must(w.ClaimWrite(t.Context(), keyed(t, ann, "other", time.Minute)))(t); !c.Mine || c.Again {
		t.Errorf("got %+v, want a new key after a day", c)
	}

	var forgotten, left int
	_, err := w.conn.Exec(t.Context(), `insert into stark.idempotent_writes (owner, key_hash, fingerprint, claim, held_until, created_at, answer)
		select $1, sha256(n::text::bytea), sha256(''), gen_random_uuid(), now() - interval '1 second', now() - n * interval '1 second', '\x00'
		from generate_series(1, 5010) n`, ann)
	if err != nil {
		t.Fatal(err)
	}
	err = w.conn.QueryRow(t.Context(), "select stark.forget_idempotent_writes()").Scan(&forgotten)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.conn.QueryRow(t.Context(), "select count(*) from stark.idempotent_writes").Scan(&left); err != nil || left != 5000 || forgotten != 11 {
		t.Errorf("%d are forgotten and %d left, %v, want the newest 5,000", forgotten, left, err)
	}
}
