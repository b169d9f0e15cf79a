package postgres_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
)

func TestTheFeedShowsEveryKindOfChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	s := feed(t, w.DB)
	ann := w.user(t, api.RoleOperator, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	n := w.node(t, ann, "n1").Node
	p := w.pod(t, ann, k.ID)
	until(t, s, "own commits", func() bool {
		_, a := s.Pods.Snapshot().Get(p.ID)
		_, b := s.Nodes.Snapshot().Get(n.ID)
		_, c := s.Packs.Snapshot().Get(k.ID)
		u, _ := s.Users.Snapshot().Get(ann.UserID)
		return a && b && c && len(u.Roles) == 3
	})
	// Rows that others write: the triggers notify.
	w.exec(t, "insert into public.namespaces (name) values ('team')")
	w.exec(t, "insert into public.namespace_members (namespace, user_id) values ('team', $1)", ann.UserID)
	w.exec(t, "insert into public.priority_classes (name, value) values ('mine', 5)")
	w.exec(t, "update public.cluster_config set max_pods_per_node = 7")
	has := func() (bool, bool, bool, bool) {
		_, a := s.Namespaces.Snapshot().Get("team")
		_, c := s.PriorityClasses.Snapshot().Get("mine")
		return a, s.MemberOf("team", ann.UserID), c, s.Config().MaxPodsPerNode == 7
	}
	until(t, s, "rows of others", func() bool { a, b, c, d := has(); return a && b && c && d })
	w.exec(t, "delete from public.namespace_members")
	w.exec(t, "delete from public.namespaces where name = 'team'")
	w.exec(t, "delete from public.priority_classes where name = 'mine'")
	until(t, s, "deletions", func() bool { a, b, c, _ := has(); return !a && !b && !c })
	if _, _, err := w.StopPod(ctx, ann, p.ID); err != nil {
		t.Fatal(err)
	}
	if _, purged, err := w.StopPod(ctx, ann, p.ID); err != nil || !purged {
		t.Fatalf("got %v, %v", purged, err)
	}
	until(t, s, "a purged pod", func() bool { return s.Pods.Snapshot().Len() == 0 })
	if s.Cursor() == "" {
		t.Error("no cursor")
	}
}

// A row that cannot be decoded is told and left out; the feed goes on with all others.
func TestTheFeedGoesOnBehindABadRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	bad, good := w.pod(t, ann, k.ID), w.pod(t, ann, k.ID)
	told := make(chan string, 8)
	metrics := prometheus.NewRegistry()
	s := feed(t, open(t, postgres.Config{URL: w.at.URL, Metrics: metrics, Logger: loggingtest.NewTo(t, teller(told)).Logger}))
	spoil := "update public.pods set last_termination = $2, status_message = 'changed' where id = any ($1)"
	w.exec(t, spoil, []string{bad.ID}, `{"attempt":"none"}`)
	w.exec(t, spoil, []string{good.ID}, `{"attempt":1}`)
	until(t, s, "the row behind the bad one", func() bool {
		p, _ := s.Pods.Snapshot().Get(good.ID)
		return p.StatusMessage == "changed"
	})
	if p, ok := s.Pods.Snapshot().Get(bad.ID); !ok || p.StatusMessage != "" {
		t.Errorf("got %v and %q, want the bad row as it was before", ok, p.StatusMessage)
	}
	if s.Stale() {
		t.Error("the read model says that the database is away")
	}
	again := feed(t, open(t, postgres.Config{URL: w.at.URL}))
	if _, ok := again.Pods.Snapshot().Get(bad.ID); ok || again.Pods.Snapshot().Len() != 1 {
		t.Errorf("got %d pods at the start, want the good one alone", again.Pods.Snapshot().Len())
	}
	w.exec(t, spoil, []string{bad.ID}, `{"attempt":2}`)
	for _, s := range []*store.Store{s, again} {
		until(t, s, "the mended row", func() bool {
			p, _ := s.Pods.Snapshot().Get(bad.ID)
			return p.LastTermination != nil && p.LastTermination.Attempt == 2
		})
	}
	if line := <-told; !strings.Contains(line, bad.ID) {
		t.Errorf("the log does not name the row: %s", line)
	}
	families, err := metrics.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "stark_feed_rows_skipped_total" {
		t.Errorf("got %v, %v, want the number of rows left out", families, err)
	}
}

// teller passes on what is logged as an error.
type teller chan string

func (c teller) Write(line []byte) (int, error) {
	if strings.Contains(string(line), `"level":"ERROR"`) {
		c <- string(line)
	}
	return len(line), nil
}

func TestTheFeedLosesNoRowOfASlowTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	s := feed(t, w.DB)
	insert := "insert into public.pods (pack_id, pack_name, pack_version, created_by) values ($1, '', '', $2)"
	var slow []pgx.Tx
	for i := range 4 {
		conn := connect(t, w.at.Superuser)
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Each in a namespace of its own: they would wait for each other's usage row.
		ns := "slow-" + string(rune('a'+i))
		w.exec(t, "insert into public.namespaces (name) values ($1)", ns)
		if _, err := tx.Exec(t.Context(), "insert into public.pods (pack_id, pack_name, pack_version, created_by, namespace) values ($1, '', '', $2, $3)", k.ID, ann.UserID, ns); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, tx)
	}
	for i := range 20 { // these get higher ids and commit before the slow ones
		w.exec(t, insert, k.ID, ann.UserID)
		if i%5 == 4 {
			if err := slow[i/5].Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		until(t, s, "fast and slow rows", func() bool { return s.Pods.Snapshot().Len() >= i+1+(i+1)/5 })
	}
	if got := s.Pods.Snapshot().Len(); got != 24 {
		t.Errorf("got %d pods", got)
	}
}

func TestTwoServersTellEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	s := feed(t, open(t, postgres.Config{URL: w.at.URL}))
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := w.CreatePod(t.Context(), ann, api.CreatePodRequest{PackID: k.ID}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	until(t, s, "40 pods of another server", func() bool { return s.Pods.Snapshot().Len() == 40 })
}

func TestTheFeedSurvivesTerminatedBackends(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	s := feed(t, w.DB)
	for i := range 3 {
		w.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
		w.exec(t, "insert into public.pods (pack_id, pack_name, pack_version, created_by) values ($1, '', '', $2)", k.ID, ann.UserID)
		until(t, s, "a row after the cut", func() bool { return s.Pods.Snapshot().Len() == i+1 })
	}
}

// After a crash Postgres gives out again the ids of transactions that had ended
// but were not on disk yet, as those that only notify are. A row of such an id
// lies behind a cursor from before the crash; here one is put there by hand.
func TestTheFeedStartsOverWhenPostgresMayHaveCrashed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	s := feed(t, w.DB)
	first := w.pod(t, ann, k.ID)
	until(t, s, "the first pod", func() bool { _, ok := s.Pods.Snapshot().Get(first.ID); return ok })
	// Whoever connects after a crash has no need to start over: the cut must meet this one.
	// Nothing tells the test of that connection but the list of them.
	for there := false; !there; {
		if err := w.conn.QueryRow(t.Context(), `select exists (select from pg_stat_activity
			where datname = current_database() and application_name = 'stark-feed' and state = 'idle')`).Scan(&there); err != nil {
			t.Fatal(err)
		}
	}
	behind := api.NewID()
	w.exec(t, "set session_replication_role = replica") // no triggers: nothing is logged or told
	w.exec(t, `insert into public.pods (id, pack_id, pack_name, pack_version, runtime_tag, created_by)
		values ($1, $2, 'hello', '1.0.0', 'node', $3)`, behind, k.ID, ann.UserID)
	w.exec(t, "insert into stark.change_log (xid, kind, ids, op) values ('3', 'pod', array[$1::text], 'I')", behind)
	w.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	until(t, s, "the pod behind the cursor", func() bool { _, ok := s.Pods.Snapshot().Get(behind); return ok })
}

func TestPostgresGoesAndComesBack(t *testing.T) {
	t.Parallel()
	options, err := postgrestest.Options()
	if err != nil {
		t.Fatal(err)
	}
	options.Dir = stateDir(t)
	server, err := pg.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	stale := make(chan bool, 8)
	db := open(t, postgres.Config{URL: server.URL("postgres"), OnStale: func(v bool) { stale <- v }})
	s := feed(t, db)
	stop := func() {
		if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
	stop()
	expect := func(want bool) {
		t.Helper()
		select {
		case got := <-stale:
			if got != want {
				t.Fatalf("stale is %v, want %v", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("never told that stale is %v", want)
		}
	}
	expect(true)
	err = db.Ping(t.Context())
	wantCode(t, err, fault.Unavailable)
	_, _, err = db.UserRoles(t.Context(), api.NewID())
	wantCode(t, err, fault.Unavailable)
	if f, ok := err.(*fault.Error); !ok || f.RetryAfter == 0 { //nolint:errorlint // DB gives the fault itself
		t.Errorf("got %v", err)
	}
	options.Port, options.ExactPort = server.Port, true
	if server, err = pg.Start(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	expect(false)
	conn := connect(t, server.URL("postgres"))
	if _, err := conn.Exec(t.Context(), "insert into public.namespaces (name) values ('back')"); err != nil {
		t.Fatal(err)
	}
	until(t, s, "a row after the restart", func() bool { _, ok := s.Namespaces.Snapshot().Get("back"); return ok })
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWithoutListenTheFeedPolls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// A LISTEN connection to another database hears nothing, as behind a transaction pooler.
	other := postgrestest.New(t)
	db := open(t, postgres.Config{URL: w.at.URL, ListenURL: other.URL})
	ctx, cancel := context.WithCancel(t.Context())
	s := store.New()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Feed(ctx, s.Apply)
	}()
	defer func() { cancel(); <-done }()
	<-s.Synced()
	w.exec(t, "insert into public.namespaces (name) values ('polled')")
	until(t, s, "a polled row", func() bool { _, ok := s.Namespaces.Snapshot().Get("polled"); return ok })
}

// stateDir is a folder that Postgres' account can reach and that outlives a stop.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "stark-pg-") //nolint:usetesting // t.TempDir is closed to the account that Postgres runs as
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // it holds test data alone
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
