package postgres_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
)

// scribe is a database whose read model is fed, and all that its feed has shown of pods, by
// id and version.
type scribe struct {
	*postgres.DB
	model *store.Store
	sent  *postgrestest.Statements // by its feed

	mu    sync.Mutex
	shown map[string]api.Pod // guarded by mu
	gate  chan struct{}      // guarded by mu; the feed waits for its end
}

func newScribe(t *testing.T, w *world) *scribe {
	t.Helper()
	s := &scribe{model: store.New(), shown: map[string]api.Pod{}}
	s.DB = open(t, postgres.Config{URL: w.at.URL, Store: s.model, Tracer: postgrestest.Tracer{}})
	ctx, cancel := context.WithCancel(t.Context())
	ctx, s.sent = postgrestest.Record(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Feed(ctx, func(b store.Batch) {
			s.mu.Lock()
			for _, p := range b.Pods.Put {
				s.shown[p.ID+" "+p.ResourceVersion] = p
			}
			gate := s.gate
			s.mu.Unlock()
			if gate != nil {
				<-gate
			}
			s.model.Apply(b)
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	within, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := s.model.Await(within, func(string) bool { return !s.model.Pods.Snapshot().At().IsZero() }); err != nil {
		t.Fatal("the read model is not filled")
	}
	return s
}

// reads is how often the feed has read changed pods.
func (s *scribe) reads() (n int) {
	for _, sql := range s.sent.Sent() {
		if strings.Contains(sql, "from public.pods p where p.id = any") {
			n++
		}
	}
	return n
}

// newOwnWorld has a user with a pack, a node and a priority class.
func newOwnWorld(t *testing.T) (w *world, ann access.Identity, k api.Pack, node api.Node) {
	t.Helper()
	w = newWorld(t)
	ann = w.user(t, api.RoleOperator, api.RoleDeveloper)
	w.exec(t, "insert into public.priority_classes (name, value) values ('high', 9)")
	return w, ann, w.pack(t, ann, "hello", "1.0.0"), w.node(t, ann, "n1").Node
}

// upToDate waits until the read model knows all that is committed.
func (s *scribe) upToDate(t *testing.T) {
	t.Helper()
	now := must(s.Position(t.Context()))(t)
	s.Refresh()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.model.Await(ctx, func(cursor string) bool { return s.Covers(cursor, now) }); err != nil {
		t.Fatal("the feed has not come by")
	}
}

// hold keeps the feed where it is until the channel is closed.
func (s *scribe) hold(t *testing.T) (letGo chan struct{}) {
	t.Helper()
	before := len(s.sent.Sent())
	s.mu.Lock()
	s.gate = make(chan struct{})
	s.mu.Unlock()
	await(t, "the feed to read once more", func() bool { s.Refresh(); return len(s.sent.Sent()) > before })
	return s.gate
}

// lead runs fn once as the leader.
func (s *scribe) lead(t *testing.T, fn func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = s.Lead(ctx, func(ctx context.Context) error {
		defer cancel()
		fn(ctx)
		return nil
	})
}

func (s *scribe) pods() map[string]api.Pod { return maps.Collect(s.model.Pods.Snapshot().All()) }

// bindAll binds pods that wait, as the read model has them, to a node.
func (s *scribe) bindAll(ctx context.Context, t *testing.T, nodeID string, some func(api.Pod) bool) {
	t.Helper()
	var ds []scheduler.Decision
	for id, p := range s.model.Pods.Snapshot().All() {
		if p.Status == api.PodPending && some(p) {
			ds = append(ds, scheduler.Decision{PodID: id, Incarnation: p.Incarnation, NodeID: nodeID})
		}
	}
	if _, err := s.Bind(ctx, ds); err != nil {
		t.Error(err)
	}
}

// podsOf asks for pods of many forms.
func podsOf(k api.Pack, n int, rng *rand.Rand) api.CreatePodsRequest {
	r := api.CreatePodsRequest{Items: make([]api.CreatePodRequest, n)}
	for i := range r.Items {
		item := api.CreatePodRequest{PackName: k.Name, PackVersion: k.Version}
		if rng.IntN(2) == 0 {
			item = api.CreatePodRequest{PackID: k.ID}
		}
		if rng.IntN(3) == 0 {
			item.Labels = map[string]string{"n": fmt.Sprint(rng.IntN(3))}
			item.Annotations = map[string]string{"why": "a test"}
			item.Env = map[string]string{"A": "b"}
		}
		if rng.IntN(3) == 0 {
			item.ResourceRequests = &api.ResourceInput{CPU: new(api.Millicores(rng.IntN(3) * 100))}
			item.Tolerations = []api.Toleration{{Key: "a", Operator: api.TolerationExists}}
			item.Scheduling = &api.Scheduling{NodeAffinity: &api.NodeAffinity{Preferred: []api.PreferredNode{{Weight: 3, Preference: api.NodeSelectorTerm{
				MatchExpressions: []api.Requirement{{Key: "zone", Operator: api.OpIn, Values: []string{"a"}}},
			}}}}}
		}
		if rng.IntN(4) == 0 {
			item.PriorityClassName, item.ActiveDeadlineSeconds = "high", new(60)
			item.Metadata = map[string]any{"a": []any{"b", 1.5}}
		}
		r.Items[i] = item
	}
	return r
}

// What a server has written itself its feed does not read again, and shows as it is.
func TestTheFeedDoesNotReadWhatThisServerHasWritten(t *testing.T) {
	t.Parallel()
	w, ann, k, node := newOwnWorld(t)
	s := newScribe(t, w)
	s.upToDate(t)
	before := s.reads()
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // pods of a test
	const rounds = 10
	s.lead(t, func(ctx context.Context) {
		for range rounds {
			must(s.CreatePod(ctx, ann, podsOf(k, 1, rng).Items[0]))(t)
			must(s.CreatePods(ctx, ann, podsOf(k, 40, rng)))(t)
			s.upToDate(t)
			s.bindAll(ctx, t, node.ID, func(api.Pod) bool { return rng.IntN(2) == 0 })
			s.upToDate(t)
		}
	})
	// Now and then something else has the feed read between the commit and its answer.
	if n := s.reads() - before; n > rounds {
		t.Errorf("changed pods were read %d times in %d rounds of three writes", n, rounds)
	}
	got, want := s.pods(), map[string]api.Pod{}
	maps.Copy(want, newScribe(t, w).pods())
	if len(got) != rounds*41 {
		t.Errorf("%d pods", len(got))
	}
	samePods(t, got, want)
	bound := 0
	for _, p := range got {
		if p.Status == api.PodScheduled {
			bound++
		}
	}
	if bound < rounds*10 {
		t.Errorf("%d pods are bound", bound)
	}
}

func samePods(t *testing.T, got, want map[string]api.Pod) {
	t.Helper()
	for id, p := range want {
		if q, ok := got[id]; !ok || !reflect.DeepEqual(p, q) {
			t.Errorf("shown as %+v\nwhich is   %+v", q, p)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d pods are shown, of %d", len(got), len(want))
	}
}

// Whoever else writes the same pods meanwhile, and another server that writes them too:
// each version of each pod is shown as it is by both, and in the end all there is.
func TestTheFeedShowsWhatOthersMakeOfOwnWrites(t *testing.T) {
	t.Parallel()
	w, ann, k, node := newOwnWorld(t)
	one, two := newScribe(t, w), newScribe(t, w)
	var busy sync.WaitGroup
	stop := make(chan struct{})
	// hand changes pods by SQL, whatever they are.
	hand := func(seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // choices of a test
		conn := connect(t, w.at.Superuser)
		for {
			select {
			case <-stop:
				return
			default:
			}
			sql := []string{
				"update public.pods set labels = labels || jsonb_build_object('at', 'n' || (random() * 100)::int) where id in (select id from public.pods order by random() limit 5)",
				"update public.pods set labels = labels || '{\"waits\": \"yes\"}' where id in (select id from public.pods where status = 'pending' order by random() limit 3)",
				"delete from public.pods where id in (select id from public.pods order by random() limit 1)",
			}[rng.IntN(3)]
			if _, err := conn.Exec(t.Context(), sql); err != nil && !strings.Contains(err.Error(), "deadlock") {
				t.Error(err)
				return
			}
		}
	}
	busy.Go(func() { hand(1) })
	busy.Go(func() { hand(2) })
	busy.Go(func() { writePods(t, two, ann, k, 5) })
	one.lead(t, func(ctx context.Context) {
		rng := rand.New(rand.NewPCG(3, 0)) //nolint:gosec // choices of a test
		for range 40 {
			writePods(t, one, ann, k, 1)
			one.bindAll(ctx, t, node.ID, func(api.Pod) bool { return rng.IntN(2) == 0 })
		}
	})
	close(stop)
	busy.Wait()
	one.upToDate(t)
	two.upToDate(t)
	last := newScribe(t, w).pods()
	samePods(t, one.pods(), last)
	samePods(t, two.pods(), last)
	both := 0
	for key, p := range one.shown {
		if q, ok := two.shown[key]; ok {
			both++
			if !reflect.DeepEqual(p, q) {
				t.Errorf("%s is shown as\n%+v and\n%+v", key, p, q)
			}
		}
	}
	if both < len(last) {
		t.Errorf("%d versions were shown by both", both)
	}
}

func writePods(t *testing.T, s *scribe, ann access.Identity, k api.Pack, rounds int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(rounds), 7)) //nolint:gosec // pods of a test
	for range rounds {
		for _, item := range podsOf(k, 2, rng).Items {
			if _, err := s.CreatePod(t.Context(), ann, item); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.CreatePods(t.Context(), ann, podsOf(k, 10, rng)); err != nil {
			t.Error(err)
		}
	}
}

// A pod that somebody has changed since the read model showed it is bound all the same, in
// a second transaction.
func TestAPodIsBoundAlsoInAVersionThatTheReadModelDoesNotKnow(t *testing.T) {
	t.Parallel()
	w, ann, k, node := newOwnWorld(t)
	s := newScribe(t, w)
	ids := must(s.CreatePods(t.Context(), ann, many(3, k.ID)))(t)
	s.upToDate(t)
	known := s.pods()
	s.lead(t, func(ctx context.Context) {
		w.exec(t, "update public.pods set labels = '{\"a\":\"b\"}' where id = $1", ids[0])
		w.exec(t, "update public.pods set status = 'stopped' where id = $1", ids[1])
		var ds []scheduler.Decision
		for _, id := range ids {
			ds = append(ds, scheduler.Decision{PodID: id, Incarnation: known[id].Incarnation, NodeID: node.ID})
		}
		stale, err := s.Bind(ctx, ds)
		if err != nil || len(stale) != 1 || stale[0].PodID != ids[1] {
			t.Errorf("%v, %v; want the one that has ended", stale, err)
		}
	})
	s.upToDate(t)
	samePods(t, s.pods(), newScribe(t, w).pods())
	if p := s.pods()[ids[0]]; p.Status != api.PodScheduled || p.Labels["a"] != "b" || p.NodeName != "n1" {
		t.Errorf("got %+v", p)
	}
	if p := s.pods()[ids[1]]; p.Status != api.PodStopped {
		t.Errorf("got %+v", p)
	}
}

// A pod that somebody else has changed before the feed comes by is read.
func TestTheFeedReadsOwnWritesThatOthersHaveChanged(t *testing.T) {
	t.Parallel()
	w, ann, k, node := newOwnWorld(t)
	s := newScribe(t, w)
	old := must(s.CreatePod(t.Context(), ann, api.CreatePodRequest{PackID: k.ID}))(t)
	s.upToDate(t)
	letGo := s.hold(t)
	fresh := must(s.CreatePod(t.Context(), ann, api.CreatePodRequest{PackID: k.ID}))(t)
	gone := must(s.CreatePods(t.Context(), ann, many(2, k.ID)))(t)
	s.lead(t, func(ctx context.Context) {
		if stale, err := s.Bind(ctx, []scheduler.Decision{{PodID: old.ID, Incarnation: 1, NodeID: node.ID}}); err != nil || len(stale) > 0 {
			t.Error(stale, err)
		}
	})
	w.exec(t, "update public.pods set labels = '{\"a\":\"b\"}' where id = any ($1)", []string{old.ID, fresh.ID})
	w.exec(t, "delete from public.pods where id = $1", gone[0])
	close(letGo)
	s.upToDate(t)
	got := s.pods()
	if got[old.ID].Labels["a"] != "b" || got[fresh.ID].Labels["a"] != "b" || got[old.ID].NodeName != "n1" || len(got) != 3 {
		t.Errorf("got %+v", got)
	}
	samePods(t, got, newScribe(t, w).pods())
}

// Settle waits for what is bound and not shown yet, also by a bind that is under way.
func TestSettleWaitsForTheReadModel(t *testing.T) {
	t.Parallel()
	w, ann, k, node := newOwnWorld(t)
	s := newScribe(t, w)
	pod := must(s.CreatePod(t.Context(), ann, api.CreatePodRequest{PackID: k.ID}))(t)
	s.upToDate(t)
	tx := w.holding(t, "select from stark.leader_lease where name = 'leader' for key share") // as a bind holds it
	if _, err := tx.Exec(t.Context(), "update public.pods set status = 'scheduled', node_id = $1 where id = $2", node.ID, pod.ID); err != nil {
		t.Fatal(err)
	}
	settled := make(chan error, 1)
	go func() { settled <- s.Settle(t.Context()) }()
	await(t, "Settle to wait for the lock", func() bool {
		return value[bool](t, w, "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')")
	})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	if p := s.pods()[pod.ID]; p.Status != api.PodScheduled {
		t.Errorf("the read model has %+v", p)
	}
}
