package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/tests/harness"
)

// Two thousand pods come while leaders are killed, one after the other, in the middle of
// their work: each pod is bound once, to a node that has room for it.
func TestALeaderThatIsKilledInAQueueBindsNothingTwice(t *testing.T) {
	t.Parallel()
	const nodes, pods, wave = 100, 2000, 50
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	c, err := harness.Start(ctx, harness.Options{Stark: stark, Dir: t.TempDir(), Servers: 2, LogLevel: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("end the cluster: %v", err)
		}
	})
	q := queue{t: t, c: c}
	if q.conn, err = pgx.Connect(ctx, c.Stack.DBURL); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.conn.Close(context.WithoutCancel(t.Context())) }()
	// The nodes are rows without agents, whose leases last; what is bound stays scheduled.
	q.exec(ctx, `with made as (
			insert into public.nodes (name, runtime_type, status, registered_by, shared, allocatable)
			select 'node-' || i, 'node', 'online', $1::uuid, true, '{"cpu":250,"memory":8192,"storage":0,"pods":110}' from generate_series(1, $2) i returning id)
		insert into stark.node_leases (node_id, renewed_at) select id, now() + interval '1 day' from made`, c.Session.User.ID, nodes)
	var pack string
	if err := q.conn.QueryRow(ctx, `insert into public.packs (name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size)
		values ('web', '1.0.0', 'node', $1::uuid, 'ready', repeat('a', 64), 1) returning id::text`, c.Session.User.ID).Scan(&pack); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for sent := 0; sent < pods; sent += wave {
		q.exec(ctx, `insert into public.pods (pack_id, created_by, resource_requests)
			select $1::uuid, $2::uuid, '{"cpu":10,"memory":16}' from generate_series(1, $3)`, pack, c.Session.User.ID, wave)
		if sent == 600 || sent == 1300 {
			q.bound(ctx, sent/2) // it is at work
			q.kill(ctx)
			kills++
		}
	}
	q.bound(ctx, pods)
	if kills != 2 {
		t.Errorf("%d leaders were killed, want 2", kills)
	}
	if n := q.number(ctx, `select count(*) from (select pod_id from public.pod_history where new_node_id is not null and new_status = 'scheduled'
		group by pod_id having count(*) <> 1) h`); n != 0 {
		t.Errorf("%d pods were bound more than once", n)
	}
	if n := q.number(ctx, `select count(*) from public.pods where node_id is null or status <> 'scheduled' or incarnation <> 1`); n != 0 {
		t.Errorf("%d pods are not bound in their first incarnation", n)
	}
	if n := q.number(ctx, `select count(*) from (select p.node_id from public.pods p join public.nodes n on n.id = p.node_id
		group by p.node_id, n.allocatable having sum((p.resource_requests ->> 'cpu')::int) > (n.allocatable ->> 'cpu')::int) o`); n != 0 {
		t.Errorf("%d nodes hold more than they have", n)
	}
}

type queue struct {
	t    *testing.T
	c    *harness.Cluster
	conn *pgx.Conn
}

func (q *queue) exec(ctx context.Context, sql string, args ...any) {
	q.t.Helper()
	if _, err := q.conn.Exec(ctx, sql, args...); err != nil {
		q.t.Fatal(err)
	}
}

func (q *queue) number(ctx context.Context, sql string) (n int) {
	q.t.Helper()
	if err := q.conn.QueryRow(ctx, sql).Scan(&n); err != nil {
		q.t.Fatal(err)
	}
	return n
}

// bound waits until so many pods have a node.
func (q *queue) bound(ctx context.Context, n int) {
	q.t.Helper()
	q.until(ctx, func() bool { return q.number(ctx, "select count(*) from public.pods where node_id is not null") >= n })
}

func (q *queue) until(ctx context.Context, ok func() bool) {
	q.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, out := range q.c.Outputs() {
				q.t.Log(out)
			}
			q.t.Fatal("waited in vain")
		}
	}
}

// kill ends the server that leads, and starts it again as one that follows.
func (q *queue) kill(ctx context.Context) {
	q.t.Helper()
	var leaders []*harness.Server
	q.until(ctx, func() bool { leaders = q.c.Leaders(ctx); return len(leaders) == 1 })
	leaders[0].Kill()
	if err := q.c.Restart(ctx, leaders[0]); err != nil {
		q.t.Fatal(err)
	}
}
