package postgres_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

// binder counts the decisions of a scheduler and what they cost the database.
type binder struct {
	*postgres.DB
	calls, statements, stale atomic.Int64
}

// Bind counts and binds.
func (b *binder) Bind(ctx context.Context, ds []scheduler.Decision) ([]scheduler.Decision, error) {
	ctx, statements := postgrestest.Record(ctx)
	stale, err := b.DB.Bind(ctx, ds)
	b.calls.Add(1)
	b.statements.Add(int64(len(statements.Sent())))
	b.stale.Add(int64(len(stale)))
	return stale, err
}

// A thousand pods that wait for a hundred nodes are placed within the patience of any
// test, evenly, each once, and by a number of statements that has nothing to do with
// theirs.
func TestAThousandPodsAreScheduledOnAHundredNodes(t *testing.T) {
	t.Parallel()
	const pods, nodes = 1000, 100
	w := newWorld(t)
	db := open(t, postgres.Config{URL: w.at.URL, Tracer: postgrestest.Tracer{}})
	ann := w.user(t, api.RoleOperator, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	w.exec(t, `insert into public.nodes (name, runtime_type, status, registered_by, shared, allocatable)
		select 'node-' || i, 'node', 'online', $1, true, '{"cpu":4000,"memory":8192,"storage":10240,"pods":12}' from generate_series(1, $2) i`, ann.UserID, nodes)
	w.exec(t, `insert into public.pods (pack_id, created_by, resource_requests)
		select $1, $2, '{"cpu":100,"memory":64}' from generate_series(1, $3)`, k.ID, ann.UserID, pods)
	model := feed(t, db)
	b := &binder{DB: db}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- db.Lead(ctx, func(ctx context.Context) error { return scheduler.Run(ctx, model, b, loggingtest.New(t).Logger) })
	}()
	until(t, model, "every pod to be placed", func() bool { return placed(model) == pods })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// The first pass sees them all. What the feed shows of it may make a few more, in
	// which nothing is left to decide.
	if calls, statements := b.calls.Load(), b.statements.Load(); calls > 3 || statements > 8*calls || statements < calls {
		t.Errorf("%d pods were bound by %d calls with %d statements", pods, calls, statements)
	}
	if n := b.stale.Load(); n > 0 {
		t.Errorf("%d pods were decided about twice", n)
	}
	if uneven := value[[]string](t, w, `select coalesce(array_agg(n.name || ' has ' || n.pods), '{}') from
		(select n.name, count(p.id) as pods from public.nodes n left join public.pods p on p.node_id = n.id group by n.name) n
		where n.pods <> $1`, pods/nodes); len(uneven) > 0 {
		t.Errorf("%d nodes do not have %d pods: %v", len(uneven), pods/nodes, uneven)
	}
	if n := value[int](t, w, "select count(*) from public.pod_history where new_status = 'scheduled'"); n != pods {
		t.Errorf("the history tells of %d placements of %d pods", n, pods)
	}
}

func placed(model *store.Store) (n int) {
	for _, p := range model.Pods.Snapshot().All() {
		if p.Status == api.PodScheduled {
			n++
		}
	}
	return n
}
