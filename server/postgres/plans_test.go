package postgres_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

// What a check calls is planned anew at each call when it is written in SQL: a pod's
// affinity took almost a millisecond, at each change of its row.
func TestChecksOfDocumentsKeepTheirPlans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rows, err := w.conn.Query(t.Context(), `select p.oid::regprocedure::text from pg_proc p join pg_language l on l.oid = p.prolang
		where p.pronamespace = 'stark'::regnamespace and l.lanname = 'sql' and p.provolatile = 'i'
			and p.prorettype = 'boolean'::regtype and p.proname like 'is\_%'`)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(slow) > 0 {
		t.Errorf("written in SQL are %v (%v); write checks in PL/pgSQL", slow, err)
	}
}

// The plan that suits the first change of a session, which is one of a single pod,
// would compare every pod with every other when thousands change.
func TestTheAccountOfChangedPodsNeverComparesAllWithAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var settings []string
	if err := w.conn.QueryRow(t.Context(), `select coalesce(p.proconfig, '{}') from pg_proc p
		where p.oid = 'stark.pods_updated'::regproc`).Scan(&settings); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"enable_nestloop=off", "jit=off", `search_path=""`} {
		if !slices.Contains(settings, want) {
			t.Errorf("stark.pods_updated has the settings %q and lacks %s; a replacement of the function must repeat them", settings, want)
		}
	}
}

// A session that made its first pod when there were few of them reads no more for a new
// one when there are many.
func TestNewPodsAreCheckedByTheIndexHoweverTheSessionBegan(t *testing.T) {
	t.Parallel()
	const many = 5000
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	insert := func(n int) {
		w.exec(t, "insert into public.pods (pack_id, created_by) select $1, $2 from generate_series(1, $3)", k.ID, ann.UserID, n)
	}
	for range 10 { // by then a session keeps its plans
		insert(1)
	}
	w.exec(t, `insert into public.pod_history (pod_id, namespace, pod_created_by, action, incarnation)
		select gen_random_uuid(), 'default', $1, 'created', 1 from generate_series(1, $2)`, ann.UserID, many)
	w.exec(t, "begin")
	insert(10)
	if n := value[int](t, w, "select seq_tup_read from pg_stat_xact_user_tables where relid = 'public.pod_history'::regclass"); n > 0 {
		t.Errorf("10 new pods had %d rows of the history read one after the other", n)
	}
	w.exec(t, "rollback")
}

// A feed that has read few pods for a while finds a crowd by the index all the same. It
// once took six seconds for a thousand of ten thousand pods.
func TestTheFeedFindsPodsByTheIndexHoweverItBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	db := open(t, postgres.Config{URL: w.at.URL})
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	w.exec(t, "insert into public.pods (pack_id, created_by) values ($1, $2)", k.ID, ann.UserID)
	pods := func() []string { return value[[]string](t, w, "select array_agg(id::text) from public.pods") }
	first := pods()
	for range 20 { // by then a session keeps its plans
		if _, _, err := db.RereadPods(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	w.exec(t, "insert into public.pods (pack_id, created_by) select $1, $2 from generate_series(1, 500)", k.ID, ann.UserID)
	all := pods()
	out, seq, err := db.RereadPods(t.Context(), all)
	if err != nil || len(out.Pods.Put) != len(all) || seq > 0 {
		t.Errorf("read %d of %d pods and looked at %d rows one after the other (%v)", len(out.Pods.Put), len(all), seq, err)
	}
}

// A server that has renewed the leases of few nodes for a while renews those of many by the
// index all the same.
func TestLeasesAreRenewedByTheIndexHoweverTheSessionBegan(t *testing.T) {
	t.Parallel()
	const many, some = 3000, 300
	w := newWorld(t)
	db := open(t, postgres.Config{URL: w.at.URL, PoolSize: 1})
	w.exec(t, "update public.cluster_config set max_total_nodes = 10000")
	ann := w.user(t, api.RoleOperator)
	first := w.node(t, ann, "first")
	session := value[string](t, w, "select session from stark.node_leases where node_id = $1", first.Node.ID)
	for range 20 { // by then a session keeps its plans
		if _, _, err := db.RenewSeen(t.Context(), []string{first.Node.ID}, []string{session}); err != nil {
			t.Fatal(err)
		}
	}
	w.exec(t, `insert into public.nodes (name, runtime_type, status, registered_by, allocatable)
		select 'many-' || i, 'node', 'online', $1, '{"cpu":1000,"memory":1024,"storage":1024,"pods":10}' from generate_series(1, $2) i`, ann.UserID, many)
	w.exec(t, "insert into stark.node_leases (node_id, session) select id, 'here' from public.nodes where name like 'many-%'")
	ids := value[[]string](t, w, "select array_agg(node_id::text) from (select node_id from stark.node_leases where session = 'here' limit $1) l", some)
	lost, seq, err := db.RenewSeen(t.Context(), ids, slices.Repeat([]string{"here"}, some))
	if err != nil || len(lost) > 0 || seq > 0 {
		t.Errorf("%d nodes are lost, and %d rows were looked at one after the other (%v)", len(lost), seq, err)
	}
}
