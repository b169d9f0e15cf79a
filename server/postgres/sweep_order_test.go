package postgres_test

import (
	"context"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Nodes that come back are locked in the order of their ids, many in one transaction. A
// sweep that locked them in another order and they would wait for each other.
func TestASweepLocksNodesInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleOperator)
	const nodes = 20
	w.exec(t, `with made as (
			insert into public.nodes (id, name, runtime_type, status, registered_by, shared)
			select ('00000000-0000-4000-8000-' || lpad((1000 - i)::text, 12, '0'))::uuid, 'n' || i, 'node', 'online', $1, true
			from generate_series(1, $2) i returning id)
		insert into stark.node_leases (node_id, renewed_at) select id, now() - interval '40 seconds' from made`, ann.UserID, nodes)
	held := w.holding(t, "select from public.nodes order by id limit 1 for update")
	w.lead(t, func(ctx context.Context) {
		swept := make(chan postgres.SweepResult, 1)
		go func() {
			r, err := w.SweepNodes(ctx)
			if err != nil {
				t.Error(err)
			}
			swept <- r
		}()
		for !value[bool](t, w, "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')") {
			if ctx.Err() != nil {
				t.Fatal("the sweep waits for nobody")
			}
		}
		var free int
		if err := held.QueryRow(ctx, "select count(*) from (select from public.nodes for update skip locked) n").Scan(&free); err != nil || free != nodes {
			t.Errorf("%d of %d nodes are not locked by a sweep that waits for the first one (%v)", free, nodes, err)
		}
		if err := held.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
		if r := <-swept; len(r.Suspect) != nodes {
			t.Errorf("got %+v", r)
		}
	})
}
