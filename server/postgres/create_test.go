package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// outcome is what became of one create.
type outcome struct {
	by  access.Identity
	pod api.Pod
	err error
	at  time.Time
}

// createdAtOnce has one create of the first begun while somebody holds the namespace, and
// those of all others wait for it.
func createdAtOnce(ctx context.Context, t *testing.T, w *world, packID string, first access.Identity, others []access.Identity) (outcomes []outcome) {
	t.Helper()
	busy := w.holding(t, "select from public.namespaces where name = 'default' for update")
	outcomes = make([]outcome, 1+len(others))
	var wg sync.WaitGroup
	create := func(i int, by access.Identity) {
		wg.Go(func() {
			p, err := w.CreatePod(ctx, by, api.CreatePodRequest{PackID: packID})
			outcomes[i] = outcome{by, p, err, time.Now()}
		})
	}
	create(0, first)
	w.awaitBlocked(ctx, t, busy, 1)
	for i, by := range others {
		create(i+1, by)
	}
	await(t, "the creates to wait for the one before them", func() bool { return w.CreatesWaiting("") == len(others) })
	if err := busy.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return outcomes
}

// What one namespace is asked for by several is one transaction, which holds its row once,
// and each has asked as itself.
func TestCreatesOfManyUsersShareATransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	w.exec(t, "update public.packs set visibility = 'public'")
	var others []access.Identity
	for range 5 {
		by := w.user(t, api.RoleDeveloper)
		others = append(others, by, by)
	}
	outcomes := createdAtOnce(ctx, t, w, k.ID, ann, others)
	for i, o := range outcomes {
		if o.err != nil || o.pod.CreatedBy != o.by.UserID {
			t.Errorf("create %d of %s: %s, %v", i, o.by.UserID, o.pod.CreatedBy, o.err)
		}
	}
	if n := value[int](t, w, "select count(distinct p.xmin::text) from public.pods p"); n != 2 {
		t.Errorf("%d transactions, want one for the first and one for all others", n)
	}
	if n := value[int](t, w, "select count(*) from public.pod_history h where h.actor_id = h.pod_created_by"); n != len(outcomes) {
		t.Errorf("%d of %d entries of the history name who has asked", n, len(outcomes))
	}
	if n := value[int](t, w, "select (s.resource_usage ->> 'pods')::int from public.namespaces s where s.name = 'default'"); n != len(outcomes) {
		t.Errorf("%d pods are counted, want %d", n, len(outcomes))
	}
}

// Who may not create is refused alone, and by what they may themselves.
func TestOneUsersRefusalIsNotTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	ann, bob, viewer := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper), w.user(t)
	k := w.pack(t, ann, "hello", "1.0.0") // private
	outcomes := createdAtOnce(ctx, t, w, k.ID, ann, []access.Identity{viewer, ann, bob, ann, viewer})
	for i, want := range []fault.Code{"", fault.Forbidden, "", fault.NotFound, "", fault.Forbidden} {
		if got := fault.CodeOf(outcomes[i].err); (want == "") != (outcomes[i].err == nil) || want != "" && got != want {
			t.Errorf("create %d: %v, want %q", i, outcomes[i].err, want)
		}
	}
	if n := value[int](t, w, "select count(*) from public.pods p where p.created_by = $1", ann.UserID); n != 3 {
		t.Errorf("%d pods of who may, want 3", n)
	}
	if n := value[int](t, w, "select count(*) from public.pods"); n != 3 {
		t.Errorf("%d pods in all, want 3", n)
	}
}

// More identities than may share a transaction are served all the same.
func TestACrowdOfUsersIsServedByParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithTimeout(t.Context(), 2*patience)
	defer stop()
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	w.exec(t, "update public.packs set visibility = 'public'")
	others := make([]access.Identity, 40)
	for i := range others {
		others[i] = w.user(t, api.RoleDeveloper)
	}
	for _, o := range createdAtOnce(ctx, t, w, k.ID, ann, others) {
		if o.err != nil {
			t.Error(o.err)
		}
	}
	if n := value[int](t, w, "select count(distinct p.xmin::text) from public.pods p"); n != 3 {
		t.Errorf("%d transactions, want one for the first and two for the others", n)
	}
}

// Whose creates are refused one after another keeps nobody else in the namespace waiting.
func TestRefusalsOfOneUserKeepNobodyElseWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithTimeout(t.Context(), 2*patience)
	defer stop()
	ann, bob := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0") // private
	const bad = 60
	others := make([]access.Identity, bad, bad+1)
	for i := range others {
		others[i] = bob
	}
	outcomes := createdAtOnce(ctx, t, w, k.ID, ann, append(others, ann))
	later := 0 // refusals, which are found out one by one beside what others are stored by
	for i, o := range outcomes {
		refused := o.by.UserID == bob.UserID
		if refused != (o.err != nil) {
			t.Errorf("create %d: %v", i, o.err)
		}
		if refused && o.at.After(outcomes[bad+1].at) {
			later++
		}
	}
	if later == 0 {
		t.Errorf("a create waited until all %d of somebody else's were refused", bad)
	}
}
