package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
)

// memory is a world with a DB that has a read model. The batches of its feed can be held
// back, as they are where a server is slow.
type memory struct {
	*world
	db    *postgres.DB
	model *store.Store

	mu   sync.Mutex
	held bool
	late []store.Batch
}

func newMemory(t *testing.T) *memory {
	t.Helper()
	m := &memory{world: newWorld(t), model: store.New()}
	m.db = open(t, postgres.Config{URL: m.at.URL, PoolSize: 1, Store: m.model, Tracer: postgrestest.Tracer{}})
	if err := m.db.Ping(t.Context()); err != nil { // the connection is older than what the feed reads
		t.Fatal(err)
	}
	return m
}

// follow runs the feed until the test ends.
func (m *memory) follow(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.db.Feed(ctx, m.take)
	}()
	t.Cleanup(func() { cancel(); <-done })
	m.settle(t)
}

// settle waits until the read model is as new as the database, and listens.
func (m *memory) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	now := must(m.db.Position(ctx))(t)
	if err := m.model.Await(ctx, func(have string) bool {
		return m.db.Covers(have, now) && !m.model.Pods.Snapshot().At().IsZero()
	}); err != nil {
		t.Fatal(err)
	}
}

func (m *memory) take(b store.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held && !b.Reset {
		m.late = append(m.late, b)
		return
	}
	m.show()
	m.model.Apply(b)
}

func (m *memory) show() {
	for _, b := range m.late {
		m.model.Apply(b)
	}
	m.late = nil
}

// hold begins or ends to hold batches back.
func (m *memory) hold(held bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held = held; !held {
		m.show()
	}
}

// list lists, and reports whether the read model was of use.
func (m *memory) list(t *testing.T, id access.Identity, q api.PodQuery) (page api.Page[api.Pod], recalled bool) {
	t.Helper()
	ctx, statements := postgrestest.Record(t.Context())
	page = must(m.db.ListPods(ctx, id, q))(t)
	rows := slices.ContainsFunc(statements.Sent(), func(sql string) bool { return strings.Contains(sql, "found_total") })
	return page, !rows
}

// same compares with a list of the rows, in everything but the cursors.
func (m *memory) same(t *testing.T, who string, id access.Identity, q api.PodQuery) (recalled bool) {
	t.Helper()
	got, recalled := m.list(t, id, q)
	want := must(m.ListPods(t.Context(), id, q))(t)
	got.Cursor, want.Cursor = "", ""
	if len(got.Items) != len(want.Items) || got.Total != want.Total || got.Page != want.Page || got.PageSize != want.PageSize {
		t.Fatalf("%s asks %+v: got %d of %d pods, want %d of %d (with the read model: %v)", who, q, len(got.Items), got.Total, len(want.Items), want.Total, recalled)
	}
	for i := range want.Items {
		if !reflect.DeepEqual(got.Items[i], want.Items[i]) {
			t.Fatalf("%s asks %+v: pod %d (with the read model: %v)\ngot  %+v\nwant %+v", who, q, i, recalled, got.Items[i], want.Items[i])
		}
	}
	return recalled
}

// A list that the read model helped with is the one that the rows give, whoever asks,
// whatever has happened, and however far the read model is behind.
func TestListsOfTheReadModelAreThoseOfTheRows(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	people := map[string]access.Identity{
		"developer": m.user(t, api.RoleDeveloper), "other developer": m.user(t, api.RoleDeveloper),
		"operator": m.user(t, api.RoleOperator), "member": m.user(t), "viewer": m.user(t),
	}
	dev := people["developer"]
	m.exec(t, "insert into public.namespaces (name) values ('team')")
	m.exec(t, "insert into public.namespace_members (namespace, user_id, role) values ('team', $1, 'viewer'), ('team', $2, 'developer')", people["member"].UserID, dev.UserID)
	packs := []api.Pack{m.pack(t, dev, "app", "1.0.0"), m.pack(t, dev, "app", "2.0.0")}
	node := m.node(t, people["operator"], "n0").Node.ID
	m.follow(t)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	value := func() string { return fmt.Sprint(r.IntN(3)) }
	labels := func() string {
		return []string{`{}`, `{"app":"` + value() + `"}`, `{"app":"` + value() + `","n":"` + value() + `"}`}[r.IntN(3)]
	}
	one := "(select id from public.pods order by md5(id::text || '%d') limit 1)"
	for range 12 {
		m.insert(t, dev, packs[0], "default", labels())
	}
	change := []func(){
		func() { m.insert(t, dev, packs[r.IntN(2)], []string{"default", "team"}[r.IntN(2)], labels()) },
		func() { m.insert(t, people["operator"], packs[r.IntN(2)], "default", labels()) },
		func() {
			m.exec(t, fmt.Sprintf("update public.pods set labels = $1::text::jsonb where id = "+one, r.Int()), labels())
		},
		func() {
			m.exec(t, fmt.Sprintf("update public.pods set stop_requested_at = now() where id = "+one, r.Int()))
		},
		func() {
			m.exec(t, fmt.Sprintf("delete from public.pods where status = 'stopped' and id = "+one, r.Int()))
		},
		func() {
			m.exec(t, fmt.Sprintf("update public.pods set status = 'scheduled', node_id = $1 where status = 'pending' and id = "+one, r.Int()), node)
		},
		func() {
			m.exec(t, fmt.Sprintf("update public.pods set status = 'starting' where status = 'scheduled' and id = "+one, r.Int()))
		},
		func() {
			m.exec(t, fmt.Sprintf("update public.pods set status = 'running' where status = 'starting' and id = "+one, r.Int()))
		},
		func() {
			m.exec(t, fmt.Sprintf("update public.pods set next_pack_id = $1, next_incarnation = incarnation + 1, next_since = now() where status = 'running' and id = "+one, r.Int()), packs[1].ID)
		},
		func() {
			m.exec(t, "update public.packs set visibility = case when visibility = 'public' then 'private' else 'public' end::public.pack_visibility")
		},
		func() { m.hold(r.IntN(3) > 0) },
		func() { m.hold(false); m.settle(t) },
	}
	recalled, asked := 0, 0
	for range 150 {
		for range 1 + r.IntN(3) {
			change[r.IntN(len(change))]()
		}
		q := api.PodQuery{PageQuery: api.PageQuery{Page: 1 + r.IntN(3), PageSize: 1 + r.IntN(20)}}
		q.LabelSelector = []string{"", "app=" + value(), "app in (0,2)", "app=" + value() + ",n!=" + value(), "app,n=" + value(), "!n", "n>0,app=1", "app notin (1)"}[r.IntN(8)]
		q.Namespace = []string{"", "team", "default"}[r.IntN(3)]
		q.Status = []api.PodStatus{"", "", api.PodRunning}[r.IntN(3)]
		for who, id := range people {
			asked++
			if m.same(t, who, id, q) {
				recalled++
			}
		}
	}
	if recalled < asked/5 {
		t.Errorf("the read model was of use for %d of %d lists", recalled, asked)
	}
	t.Logf("the read model was of use for %d of %d lists", recalled, asked)
}

func (m *memory) insert(t *testing.T, by access.Identity, k api.Pack, namespace, labels string) string {
	t.Helper()
	return value[string](t, m.world, `insert into public.pods (pack_id, created_by, namespace, labels)
		values ($1, $2, $3, $4::text::jsonb) returning id::text`, k.ID, by.UserID, namespace, labels)
}

// While pods change their labels two at a time, each list is of one moment: as many have
// a label as before and after each change; and what one has written oneself is there.
func TestListsOfTheReadModelAreOfOneMoment(t *testing.T) {
	t.Parallel()
	const pods = 40
	m := newMemory(t)
	dev := m.user(t, api.RoleDeveloper)
	k := m.pack(t, dev, "app", "1.0.0")
	for i := range pods {
		m.insert(t, dev, k, "default", fmt.Sprintf(`{"side":"%d"}`, i%2))
	}
	m.follow(t)
	ctx, cancel := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	defer writer.Wait()
	defer cancel()
	conn := connect(t, m.at.URL)
	writer.Go(func() {
		for ctx.Err() == nil {
			_, _ = conn.Exec(ctx, `update public.pods p set labels = jsonb_build_object('side', ((p.labels ->> 'side')::int + 1) % 2)
				where p.id in (select id from (select id, row_number() over (partition by labels order by random()) n from public.pods where labels ? 'side') x where n = 1)`)
		}
	})
	recalled := 0
	for i := range 100 {
		page, ok := m.list(t, dev, api.PodQuery{PageQuery: api.PageQuery{PageSize: 100}, LabelSelector: "side=1"})
		if ok {
			recalled++
		}
		if page.Total != pods/2 || len(page.Items) != pods/2 {
			t.Fatalf("list %d has %d of %d pods, want %d at every moment (with the read model: %v)", i, len(page.Items), page.Total, pods/2, ok)
		}
		for _, p := range page.Items {
			if p.Labels["side"] != "1" {
				t.Fatalf("list %d shows a pod with %v", i, p.Labels)
			}
		}
		mine := must(m.CreatePod(t.Context(), dev, api.CreatePodRequest{PackID: k.ID, Labels: map[string]string{"mine": fmt.Sprint(i)}}))(t)
		if page, _ := m.list(t, dev, api.PodQuery{LabelSelector: fmt.Sprintf("mine=%d", i)}); page.Total != 1 || page.Items[0].ID != mine.ID {
			t.Fatalf("own pod %d is not listed: %+v", i, page)
		}
	}
	if recalled < 30 {
		t.Errorf("the read model was of use for %d of 100 lists", recalled)
	}
}

// A read model that may be wrong is asked for nothing.
func TestAReadModelThatMayBeWrongIsNotUsed(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	dev := m.user(t, api.RoleDeveloper)
	k := m.pack(t, dev, "app", "1.0.0")
	m.insert(t, dev, k, "default", `{"app":"a"}`)
	m.follow(t)
	q := api.PodQuery{LabelSelector: "app=a"}
	if !m.same(t, "developer", dev, q) {
		t.Fatal("a read model that is right was not used")
	}
	view := m.model.Pods.Snapshot()
	var lie store.Changes[api.Pod] // the same version with something else, as after a crash
	for _, p := range view.All() {
		p.PackName = "a lie"
		lie.Put = append(lie.Put, p)
	}
	m.hold(true)
	at, rest, _ := strings.Cut(view.Cursor(), ".")
	born, snap, _ := strings.Cut(rest, ".")
	cursor := func(at, born, snap string) string { return at + "." + born + "." + snap }
	for name, b := range map[string]store.Batch{
		"nobody knows of crashes":            {Cursor: view.Cursor()},
		"younger connection":                 {Cursor: view.Cursor(), At: view.At().Add(-time.Hour)},
		"another life of Postgres":           {Cursor: cursor(at, born+"1", snap), At: view.At()},
		"a database that was set back":       {Cursor: cursor(at, born, "9000000000:9000000000:"), At: view.At()},
		"older than what the change log has": {Cursor: cursor("1", born, snap), At: view.At()},
		"no cursor":                          {At: view.At()},
	} {
		b.Reset, b.Pods = true, lie
		m.model.Apply(b)
		if m.same(t, name, dev, q) {
			t.Errorf("%s: the read model was used", name)
		}
	}
	m.model.Apply(store.Batch{Reset: true, Cursor: view.Cursor(), At: view.At(), Pods: lie})
	if page, _ := m.list(t, dev, q); page.Items[0].PackName != "a lie" {
		t.Error("what the cases above must not show is not shown by this one: they show nothing")
	}
}

// A pod that the read model could not take in is not missing from a list of labels.
func TestABadRowIsNotMissingFromLists(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	dev := m.user(t, api.RoleDeveloper)
	k := m.pack(t, dev, "app", "1.0.0")
	bad := m.insert(t, dev, k, "default", `{"app":"b"}`)
	m.insert(t, dev, k, "default", `{"app":"a"}`)
	m.follow(t)
	q := api.PodQuery{LabelSelector: "app=a"}
	m.exec(t, `update public.pods set last_termination = '{"attempt":"none"}', labels = '{"app":"a"}' where id = $1`, bad)
	m.settle(t)
	if page, err := m.db.ListPods(t.Context(), dev, q); err == nil {
		t.Errorf("got %d of %d pods, want the error of the rows", len(page.Items), page.Total)
	}
	m.exec(t, `update public.pods set last_termination = null where id = $1`, bad)
	m.settle(t)
	if !m.same(t, "developer", dev, q) {
		t.Error("a read model that is whole again was not used")
	}
}

// Many changes that the read model has not seen, or many pods with one label, are not
// looked up one by one.
func TestListsOfManyAreOfRows(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	dev := m.user(t, api.RoleDeveloper)
	k := m.pack(t, dev, "app", "1.0.0")
	m.follow(t)
	m.hold(true)
	m.exec(t, `insert into public.pods (pack_id, created_by, labels) select $1::uuid, $2::uuid, '{"app":"a"}' from generate_series(1, 1001)`, k.ID, dev.UserID)
	q := api.PodQuery{PageQuery: api.PageQuery{PageSize: 100}, LabelSelector: "app=a"}
	if m.same(t, "developer", dev, q) {
		t.Error("a read model that lacks 1001 pods was used")
	}
	m.hold(false)
	m.settle(t)
	m.same(t, "developer", dev, q)
}
