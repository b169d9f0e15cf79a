package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/relaytest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// wired is a world whose DB reaches Postgres through a relay.
type wired struct {
	*world
	db    *postgres.DB
	relay *relaytest.Relay
	ann   access.Identity
	pack  api.Pack
}

func newWired(t *testing.T, poolSize int32) *wired {
	t.Helper()
	w := &wired{world: newWorld(t)}
	w.ann = w.user(t, api.RoleDeveloper)
	w.pack = w.world.pack(t, w.ann, "hello", "1.0.0")
	var address string
	w.relay, address = relayTo(t, w.at.URL)
	w.db = open(t, postgres.Config{URL: address, PoolSize: poolSize})
	return w
}

func (w *wired) create(ctx context.Context) error {
	_, err := w.db.CreatePod(ctx, w.ann, api.CreatePodRequest{PackID: w.pack.ID})
	return err
}

// createAnnounced makes a pod and waits until the commit has been announced to other
// servers, which a pool of one connection does before it can serve the last statement
// here: so nothing else uses the relay when it returns.
func (w *wired) createAnnounced(t *testing.T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), w.at.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), "listen stark_changes"); err != nil {
		t.Fatal(err)
	}
	if err := w.create(t.Context()); err != nil {
		t.Fatal(err)
	}
	for announced := false; !announced; { // others may still announce what the world is made of
		n, err := conn.WaitForNotification(t.Context())
		if err != nil {
			t.Fatalf("the commit was not announced: %v", err)
		}
		announced = n.Payload == w.db.ServerID()
	}
	if _, err := w.db.GetPack(t.Context(), w.ann, w.pack.ID); err != nil { // a write would be announced again
		t.Fatal(err)
	}
}

// consistent checks that what a namespace counts, what the history tells and what the
// change log holds belong to the pods that there are, and gives their number.
func (w *wired) consistent(t *testing.T) int {
	t.Helper()
	pods := value[int](t, w.world, "select count(*)::int from public.pods")
	for what, sql := range map[string]string{
		"usage":      "select (resource_usage ->> 'pods')::int from public.namespaces where name = 'default'",
		"history":    "select count(*)::int from public.pod_history where action = 'created'",
		"change log": "select count(*)::int from stark.changes where kind = 'pod' and op = 'I'",
	} {
		if got := value[int](t, w.world, sql); got != pods {
			t.Errorf("there are %d pods, the %s tells of %d", pods, what, got)
		}
	}
	return pods
}

func wantRetryAfter(t *testing.T, err error) {
	t.Helper()
	wantCode(t, err, fault.Unavailable)
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.RetryAfter <= 0 {
		t.Errorf("%v says not when to come back", err)
	}
}

// A connection that is cut before a write reached Postgres, or before its answer came
// back, leaves the whole write done or nothing of it; the caller is told to come back,
// and the write is never repeated on a guess.
func TestAWriteThatIsCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(*relaytest.Relay)
		done int
	}{
		{"before Postgres has it", (*relaytest.Relay).LoseQuestion, 0},
		{"after it is committed", (*relaytest.Relay).LoseAnswer, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWired(t, 1)
			w.createAnnounced(t) // its statements are prepared now
			c.lose(w.relay)
			wantRetryAfter(t, w.create(t.Context()))
			if w.relay.Armed() {
				t.Fatal("nothing was lost")
			}
			if got := w.consistent(t); got != 1+c.done {
				t.Errorf("there are %d pods, want %d", got, 1+c.done)
			}
			if err := w.create(t.Context()); err != nil {
				t.Errorf("the next one: %v", err)
			}
		})
	}
}

// A transaction of several statements whose commit is answered by nobody is reported
// as not known, and its connection is not used again.
func TestACommitOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newWired(t, 2)
	ran := 0
	err := w.db.AsService(t.Context(), func(tx postgres.Tx) error {
		ran++
		if _, err := tx.Exec(t.Context(), "update public.cluster_config set max_total_pods = max_total_pods"); err != nil {
			return err
		}
		w.relay.LoseAnswer() // of the commit, which follows
		return nil
	})
	wantRetryAfter(t, err)
	if ran != 1 {
		t.Errorf("it ran %d times", ran)
	}
	if err := w.db.AsService(t.Context(), func(tx postgres.Tx) error {
		_, err := tx.Exec(t.Context(), "select 1")
		return err
	}); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// What is read is read again when its connection breaks: the caller sees nothing.
func TestAReadThatIsCutIsRepeated(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*relaytest.Relay){
		"question": (*relaytest.Relay).LoseQuestion, "answer": (*relaytest.Relay).LoseAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWired(t, 2)
			must(w.db.GetPack(t.Context(), w.ann, w.pack.ID))(t)
			lose(w.relay)
			must(w.db.GetPack(t.Context(), w.ann, w.pack.ID))(t)
			if w.relay.Armed() {
				t.Error("nothing was lost")
			}
		})
	}
}

// A bind whose answer is lost is planned again from what the database says, and the
// pod is bound once.
func TestABindOfUnknownOutcomeIsNotDoneTwice(t *testing.T) {
	t.Parallel()
	w := newWired(t, 4)
	node := w.world.node(t, w.ann, "worker").Node
	p := w.pod(t, w.ann, w.pack.ID)
	decision := []scheduler.Decision{{PodID: p.ID, Incarnation: p.Incarnation, NodeID: node.ID}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_ = w.db.Lead(ctx, func(ctx context.Context) error {
		defer cancel()
		_, err := w.db.Bind(ctx, nil) // prepares what it can
		if err != nil {
			t.Error(err)
		}
		w.relay.LoseAnswer()
		if _, err := w.db.Bind(ctx, decision); err == nil && w.relay.Armed() {
			t.Error("the answer was not lost")
		}
		if _, err := w.db.Bind(ctx, decision); err != nil {
			t.Errorf("again: %v", err)
		}
		return nil
	})
	if n := value[int](t, w.world, "select count(*)::int from public.pod_history where new_status = 'scheduled'"); n != 1 {
		t.Errorf("it was bound %d times", n)
	}
}

// While every connection is in use, calls wait for their turn and are told to come
// back when it does not come; then all is as before.
func TestThePoolIsExhausted(t *testing.T) {
	t.Parallel()
	w := newWired(t, 2)
	if err := w.create(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock, err := connect(t, w.at.Superuser).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "select 1 from public.namespaces where name = 'default' for update"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = w.create(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		wantRetryAfter(t, err) // the lock timeout, or no connection
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.create(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	w.consistent(t)
}

// Statements that take too long are ended by Postgres itself, as a whole.
func TestAStatementThatTakesTooLong(t *testing.T) {
	t.Parallel()
	w := newWired(t, 2)
	err := w.db.AsService(t.Context(), func(tx postgres.Tx) error {
		tx.Queue("set local statement_timeout = '50ms'")
		tx.Queue("update public.cluster_config set max_total_pods = 1")
		_, err := tx.Exec(t.Context(), "select pg_sleep(30)")
		return err
	})
	wantCode(t, err, fault.Timeout)
	if n := value[int](t, w.world, "select max_total_pods from public.cluster_config"); n == 1 {
		t.Error("half of the transaction was done")
	}
}

// A half-open LISTEN connection, over which nothing comes any more, is found out, and
// the feed goes on from its cursor.
func TestAHalfOpenListenConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	relay, address := relayTo(t, w.at.URL)
	db := open(t, postgres.Config{URL: w.at.URL, ListenURL: address})
	s := feed(t, db)
	relay.Freeze()
	p := w.pod(t, ann, k.ID) // written by another server
	until(t, s, "the pod to be seen all the same", func() bool { _, ok := s.Pods.Snapshot().Get(p.ID); return ok })
	relay.Thaw()
	q := w.pod(t, ann, k.ID)
	until(t, s, "the next pod", func() bool { _, ok := s.Pods.Snapshot().Get(q.ID); return ok })
}

// Two transactions that lock in opposite orders: Postgres ends one, and it is run again.
func TestADeadlockIsRetried(t *testing.T) {
	t.Parallel()
	w := newWired(t, 4)
	a, b := w.pod(t, w.ann, w.pack.ID), w.pod(t, w.ann, w.pack.ID)
	var meet sync.WaitGroup // both hold their first row before either asks for its second
	meet.Add(2)
	var ran sync.Map
	swap := func(name, first, second string) error {
		return w.db.AsService(t.Context(), func(tx postgres.Tx) error {
			const lock = "select 1 from public.pods where id = $1 for update"
			rows := func(r pgx.Rows) error { r.Close(); return r.Err() }
			if err := tx.Query(t.Context(), rows, lock, first); err != nil {
				return err
			}
			if _, again := ran.LoadOrStore(name, true); !again {
				meet.Done()
				meet.Wait()
			} else {
				ran.Store("again", true)
			}
			return tx.Query(t.Context(), rows, lock, second)
		})
	}
	errs := make(chan error, 2)
	go func() { errs <- swap("one", a.ID, b.ID) }()
	go func() { errs <- swap("two", b.ID, a.ID) }()
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if _, ok := ran.Load("again"); !ok {
		t.Error("nothing ran again: there was no deadlock")
	}
}

// A database that is set back to an older state, as after a failover to a replica that
// was behind, is read as a whole: what it has lost is gone from the read model.
func TestADatabaseThatLostItsLastChanges(t *testing.T) {
	t.Parallel()
	w := newWired(t, 4)
	kept := w.pod(t, w.ann, w.pack.ID)
	lost := w.pod(t, w.ann, w.pack.ID)
	stale := make(chan bool, 8)
	address := must(w.relay.URL(w.at.URL))(t)
	s := feed(t, open(t, postgres.Config{URL: address, OnStale: func(is bool) { stale <- is }}))
	until(t, s, "both pods", func() bool { return s.Pods.Snapshot().Len() == 2 })
	w.relay.Refuse(true)
	w.relay.Cut()
	for !<-stale { // until it has noticed
	}
	// The replica never had it: no trigger, no change log.
	w.exec(t, "set session_replication_role = replica")
	w.exec(t, "delete from public.pod_history where pod_id = $1", lost.ID)
	w.exec(t, "delete from public.pods where id = $1", lost.ID)
	w.exec(t, "delete from stark.change_log where ids = array[$1::text]", lost.ID)
	w.exec(t, "reset session_replication_role")
	w.relay.Refuse(false)
	until(t, s, "the lost pod to be gone", func() bool { _, ok := s.Pods.Snapshot().Get(lost.ID); return !ok })
	if _, ok := s.Pods.Snapshot().Get(kept.ID); !ok {
		t.Error("the other is gone as well")
	}
}
