package migrate_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

func (f fixture) usage(t *testing.T, namespace string) string {
	t.Helper()
	return migratetest.Value[string](t, f.Conn, `select format('%s pods %s cpu %s memory %s storage', resource_usage->'pods',
		resource_usage->'cpu', resource_usage->'memory', resource_usage->'storage') from public.namespaces where name = $1`, namespace)
}

func TestQuotaIsExactUnderParallelInserts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Exec(t, `insert into public.namespaces (name, resource_quota) values ('tight', '{"hard":{"pods":17,"cpu":100000}}')`)
	var group errgroup.Group
	var made, refused atomic.Int32
	for range 50 {
		conn := f.Connect(t, "postgres")
		group.Go(func() error {
			err := migratetest.AsOn(t, conn, f.owner, func(q migratetest.Querier) error {
				_, err := q.Exec(t.Context(), `insert into public.pods (pack_id, namespace) values ($1, 'tight')`, f.pack)
				return err
			})
			switch code := migratetest.Code(err); {
			case err == nil:
				made.Add(1)
			case code == "STQUO":
				refused.Add(1)
			default:
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if made.Load() != 17 || refused.Load() != 33 {
		t.Errorf("%d made and %d refused, want 17 and 33", made.Load(), refused.Load())
	}
	if got, want := f.usage(t, "tight"), "17 pods 1700 cpu 2176 memory 0 storage"; got != want {
		t.Errorf("usage %s, want %s", got, want)
	}
}

func TestUsageIsReleasedOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stopped, deleted, both := f.pod(t, "running"), f.pod(t, "running"), f.pod(t, "running")
	steps := []struct{ sql, id, want string }{
		{`update public.pods set labels = '{"a":"b"}' where id = $1`, stopped, "3 pods 300 cpu 384 memory 0 storage"},
		{`update public.pods set status = 'stopped' where id = $1`, stopped, "2 pods 200 cpu 256 memory 0 storage"},
		{`update public.pods set labels = '{}' where id = $1`, stopped, "2 pods 200 cpu 256 memory 0 storage"},
		{`delete from public.pods where id = $1`, deleted, "1 pods 100 cpu 128 memory 0 storage"},
		{`update public.pods set status = 'failed' where id = $1`, both, "0 pods 0 cpu 0 memory 0 storage"},
		{`delete from public.pods where id = $1`, both, "0 pods 0 cpu 0 memory 0 storage"},
	}
	for _, step := range steps {
		f.Exec(t, step.sql, step.id)
		if got := f.usage(t, "default"); got != step.want {
			t.Errorf("after %s: %s, want %s", step.sql, got, step.want)
		}
	}
}

func TestNamespacesThatEndTakeNoPods(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Exec(t, `insert into public.namespaces (name) values ('ending')`)
	f.Exec(t, `update public.namespaces set phase = 'terminating' where name = 'ending'`)
	for sql, code := range map[string]string{
		`insert into public.pods (pack_id, created_by, namespace) select id, owner_id, 'ending' from public.packs`: "STTRM",
		`update public.namespaces set phase = 'active' where name = 'ending'`:                                      "STTRM",
		`update public.namespaces set phase = 'terminating' where name = 'default'`:                                "ST409",
		`delete from public.namespaces where name = 'stark-system'`:                                                "ST409",
		`update public.namespaces set name = 'other' where name = 'ending'`:                                        "ST409",
		`insert into public.namespaces (name) values ('Bad')`:                                                      "23514",
		`insert into public.namespaces (name, resource_quota) values ('q', '{"hard":{"pods":-1}}')`:                "23514",
		`insert into public.namespaces (name, limit_range) values ('q', '{"max":{"cpu":1},"min":{"cpu":2}}')`:      "23514",
	} {
		if _, err := f.Conn.Exec(t.Context(), sql); migratetest.Code(err) != code {
			t.Errorf("%s: %v, want %s", sql, err, code)
		}
	}
	f.Exec(t, `delete from public.namespaces where name = 'ending'`)
}

func TestHistoryHasEachChangeOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.pod(t, "pending")
	actor := f.User(t, "operator")
	for _, set := range []string{
		`status = 'scheduled'`, `status = 'starting'`, `status = 'running'`, `labels = '{"a":"b"}'`,
		`status = 'starting', restarts = 1`, `status = 'running'`,
	} {
		f.Exec(t, `update public.pods set `+set+` where id = $1`, id)
	}
	err := f.As(t, actor, func(q migratetest.Querier) error {
		_, err := q.Exec(t.Context(), `update public.pods set stop_requested_at = now() where id = $1`, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Exec(t, `select set_config('stark.actor', $1, false)`, f.owner)
	f.Exec(t, `update public.pods set status = 'stopped', reason = 'Stopped' where id = $1`, id)
	f.Exec(t, `delete from public.pods where id = $1`, id)
	got := migratetest.Values[string](t, f.Conn, `select concat_ws(' ', action, previous_status || '->' || new_status, attempt,
		case actor_id when $2::uuid then 'operator' when $3::uuid then 'owner' end,
		translate(metadata ->> 'changed', '"', '')) from public.pod_history where pod_id = $1 order by created_at`, id, actor, f.owner)
	want := []string{
		"created", "scheduled pending->scheduled", "started scheduled->starting", "ready starting->running",
		"updated running->running [labels]", "restarted running->starting", "ready starting->running",
		"updated running->stopping operator [stopRequestedAt]",
		"stopped stopping->stopped owner", "deleted owner",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("history\n got %q\nwant %q", got, want)
	}
	if _, err := f.Conn.Exec(t.Context(), `update public.pod_history set reason = 'x'`); migratetest.Code(err) != "ST403" {
		t.Errorf("history was altered: %v", err)
	}
}

func TestChangeLogAndNotifications(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	listener := f.Connect(t, "postgres")
	migratetest.Exec(t, listener, `listen stark_changes`)
	f.Exec(t, `delete from stark.change_log`)

	f.Exec(t, `insert into public.pods (pack_id, created_by) select $1, $2 from generate_series(1, 20)`, f.pack, f.owner)
	f.Exec(t, `update public.pods set status = 'scheduled'`)
	f.Exec(t, `update public.cluster_config set max_total_pods = 9999`)
	f.Exec(t, `delete from public.pods`)
	f.Exec(t, `update public.pods set labels = '{}'`) // touches nothing, says nothing
	got := migratetest.Values[string](t, f.Conn, `select kind || op::text || count(*) from stark.changes group by kind, op, xid order by min(rev)`)
	want := "[namespaceU1 podI20 podU20 cluster_configU1 namespaceU1 podD20]"
	if fmt.Sprint(got) != want {
		t.Errorf("change log %v, want %s", got, want)
	}
	if n := notifications(t, f, listener); n != 4 {
		t.Errorf("%d notifications, want one for each of the 4 statements", n)
	}

	f.Exec(t, `begin`)
	f.Exec(t, `set local stark.quiet = 'on'`)
	f.Exec(t, `insert into public.pods (pack_id, created_by) values ($1, $2)`, f.pack, f.owner)
	f.Exec(t, `commit`)
	if n := notifications(t, f, listener); n != 0 {
		t.Errorf("%d notifications of a quiet transaction", n)
	}
}

// notifications counts what arrives before a mark of our own.
func notifications(t *testing.T, f fixture, listener *pgx.Conn) int {
	t.Helper()
	f.Exec(t, `select pg_notify('stark_changes', 'mark')`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; ; n++ {
		got, err := listener.WaitForNotification(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got.Payload == "mark" {
			return n
		}
	}
}

func TestNodesWithLivePodsStay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	node := migratetest.Value[string](t, f.Conn, `insert into public.nodes (name, runtime_type) values ('n', 'node') returning id::text`)
	id := f.pod(t, "pending")
	f.Exec(t, `update public.pods set status = 'scheduled', node_id = $2 where id = $1`, id, node)
	if _, err := f.Conn.Exec(t.Context(), `delete from public.nodes`); migratetest.Code(err) != "ST409" {
		t.Errorf("delete: %v, want ST409", err)
	}
	f.Exec(t, `update public.pods set status = 'evicted' where id = $1`, id)
	f.Exec(t, `delete from public.nodes`)
	if n := migratetest.Value[int](t, f.Conn, `select count(*) from public.pods where node_id is null`); n != 1 {
		t.Error("the ended pod went with its node")
	}
}

func TestRunsOnlyMoveForward(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.pod(t, "running")
	f.Exec(t, `insert into public.pod_runs (pod_id, incarnation, attempt, pack_id) values ($1, 1, 1, $2)`, id, f.pack)
	for _, step := range []struct{ to, code string }{
		{"running", ""}, {"starting", "STINV"}, {"stopping", ""}, {"exited", ""}, {"lost", "STINV"}, {"running", "STINV"}, {"exited", ""},
	} {
		_, err := f.Conn.Exec(t.Context(), `update public.pod_runs set status = $1`, step.to)
		if migratetest.Code(err) != step.code {
			t.Errorf("to %s: %v, want %q", step.to, err, step.code)
		}
	}
}
