package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// evictAtOnce bounds one statement; what is left follows within a second.
const evictAtOnce = 2000

// EvictIntolerant tells the pods to leave that do not tolerate a NoExecute taint of
// their node, or no longer. The time counts from when the taint was put there, or the pod
// was bound where that is later, by the database's clock, so that a change of leader changes nothing. Only a leader may.
func (db *DB) EvictIntolerant(ctx context.Context) (told []string, err error) {
	t, err := leading(ctx)
	if err != nil {
		return nil, err
	}
	err = db.transaction(ctx, "evict from tainted nodes", service, func(tx Tx) error {
		told = nil
		if err := hold(ctx, tx, t); err != nil {
			return err
		}
		orders, err := intolerant(ctx, tx)
		switch {
		case err != nil:
			return err
		case len(orders) == 0:
			return errNothingToDo
		}
		return queueEvictions(tx, t, orders[:min(len(orders), evictAtOnce)], new(int), &told)
	})
	if err != nil {
		return nil, err
	}
	return told, nil
}

// intolerant lists the pods whose time on a tainted node is over.
func intolerant(ctx context.Context, tx Tx) ([]Eviction, error) {
	var out []Eviction
	err := tx.Query(ctx, func(rows pgx.Rows) error {
		for rows.Next() {
			var p api.Pod
			var n api.Node
			var bound, now time.Time
			var otherwise int64
			if err := rows.Scan(&p.ID, &p.Incarnation, &p.Tolerations, &bound, &n.Name, &n.Taints, &now, &otherwise); err != nil {
				return err
			}
			taint, leaves := node.Leaves(n.Taints, p.Tolerations, bound, time.Duration(otherwise)*time.Millisecond, now)
			if leaves {
				out = append(out, Eviction{PodID: p.ID, Incarnation: p.Incarnation, Order: api.Eviction{
					Reason:  api.ReasonEvicted,
					Message: fmt.Sprintf("node %s has the taint %s, which the pod does not tolerate, or no longer", n.Name, taint),
				}})
			}
		}
		return rows.Err()
	}, `select p.id::text, p.incarnation, p.tolerations, coalesce(p.scheduled_at, p.created_at), n.name, n.taints, clock_timestamp(), c.eviction_timeout_ms
		from public.nodes n join public.pods p on p.node_id = n.id, public.cluster_config c
		where n.taints @> '[{"effect":"NoExecute"}]' and p.status in ('scheduled', 'starting', 'running')
			and p.eviction is null and p.stop_requested_at is null
		order by p.id`)
	return out, err
}

// DrainNode cordons a node and lets the leader empty it. Asked again while that goes
// on, it changes how. The rules stand in stark.nodes_operate.
func (db *DB) DrainNode(ctx context.Context, id access.Identity, nodeID string, r api.DrainNodeRequest) (api.Node, error) {
	return db.requestDrain(ctx, id, nodeID, r)
}

// CancelDrain ends a drain that goes on; the node stays cordoned, and pods that were
// told to leave still do.
func (db *DB) CancelDrain(ctx context.Context, id access.Identity, nodeID string) (api.Node, error) {
	return db.requestDrain(ctx, id, nodeID, map[string]bool{"cancel": true})
}

func (db *DB) requestDrain(ctx context.Context, id access.Identity, nodeID string, wish any) (api.Node, error) {
	var n api.Node
	if err := checkID(nodeID, "node"); err != nil {
		return n, err
	}
	text, err := jsonText(wish)
	if err != nil {
		return n, err
	}
	err = db.changeOwn(ctx, "drain node", id, "node", nodeID, "select exists (select from public.nodes where id = $1)",
		func(b *pgx.Batch) {
			b.Queue("update public.nodes n set drain_request = $2::text::jsonb where n.id = $1 returning "+nodeColumns, nodeID, text).
				Query(one(&n, scanNode))
		})
	return n, err
}

// NodeDrain gives how the drain of a node stands, nil where there is none, and, of the pods
// that the caller sees, those that it has not told to leave, and why; at most 1000.
func (db *DB) NodeDrain(ctx context.Context, id access.Identity, nodeID string) (*api.NodeDrain, []api.DrainBlock, error) {
	if err := checkID(nodeID, "node"); err != nil {
		return nil, nil, err
	}
	var n api.Node
	var seen []string
	var blocks []api.DrainBlock
	err := db.readAs(ctx, "node drain", id, func(b *pgx.Batch) {
		b.Queue("select "+nodeColumns+" from public.nodes n where n.id = $1", nodeID).Query(one(&n, scanNode))
		b.Queue("select p.id::text from public.pods p where p.node_id = $1 order by p.id limit 1000", nodeID).Query(all(&seen, scanText))
		// Of all pods, so that it is one round trip; those that the caller sees are told.
		b.Queue(db.settings(), service.settings()...)
		b.Queue(`select b.pod_id::text, p.pack_name, p.namespace, b.reason, b.message, b.since
			from stark.drain_blocks b join public.pods p on p.id = b.pod_id
			where b.node_id = $1 order by b.since, b.pod_id`, nodeID).Query(all(&blocks, scanBlock))
	})
	sees := make(map[string]bool, len(seen))
	for _, pod := range seen {
		sees[pod] = true
	}
	blocks = slices.DeleteFunc(blocks, func(b api.DrainBlock) bool { return !sees[b.PodID] })
	return n.Drain, blocks, notFound(err, "node")
}

func scanBlock(row pgx.CollectableRow) (api.DrainBlock, error) {
	var b api.DrainBlock
	err := row.Scan(&b.PodID, &b.PackName, &b.Namespace, &b.Reason, &b.Message, &b.Since)
	return b, err
}

// DrainResult is what one round of drains has done.
type DrainResult struct {
	Told     []string // pods that were told to leave
	Finished []string // nodes whose drain has ended, one way or the other
}

// AdvanceDrains takes every drain one step further. All that it needs to know is in the
// database, so that any leader goes on where another has stopped. Only a leader may.
func (db *DB) AdvanceDrains(ctx context.Context) (DrainResult, error) {
	t, err := leading(ctx)
	if err != nil {
		return DrainResult{}, err
	}
	var nodes []string
	err = db.read(ctx, "draining nodes", service, func(b *pgx.Batch) {
		b.Queue("select n.id::text from public.nodes n where n.drain ->> 'phase' = 'draining' order by n.id").Query(all(&nodes, scanText))
	})
	var out DrainResult
	for _, id := range nodes {
		if err != nil {
			break
		}
		err = db.advanceDrain(ctx, t, id, &out)
	}
	return out, err
}

// advanceDrain is one transaction for each node, so that budgets are counted anew.
func (db *DB) advanceDrain(ctx context.Context, t term, nodeID string, out *DrainResult) error {
	var told []string
	finished := false
	err := db.transaction(ctx, "drain", service, func(tx Tx) error {
		told, finished = nil, false
		if err := hold(ctx, tx, t); err != nil {
			return err
		}
		s := drainState{}
		if err := s.load(ctx, tx, nodeID); err != nil || s.drain == nil {
			return err
		}
		step := node.PlanDrain(*s.drain, s.pods, s.allowed)
		if len(step.Evict) > 0 {
			var err error
			if step, err = s.settle(ctx, tx, nodeID, step.Evict); err != nil {
				return err
			}
		}
		finished = s.next(step)
		if len(step.Evict) > 0 && !finished {
			if err := queueEvictions(tx, t, s.orders(step.Evict), new(int), &told); err != nil {
				return err
			}
		}
		return s.store(tx, nodeID, step.Blocked)
	})
	if err != nil {
		return err
	}
	out.Told = append(out.Told, told...)
	if finished {
		out.Finished = append(out.Finished, nodeID)
	}
	return nil
}

// drainState is what one step of a drain is decided on.
type drainState struct {
	name    string
	drain   *api.NodeDrain // nil when it was cancelled meanwhile
	before  api.NodeDrain
	now     time.Time
	pods    []api.Pod
	runs    int // runs of former incarnations that still go on there
	budgets map[string]budget
}

// load locks the node and reads its pods, and how the budgets of their namespaces stand.
func (s *drainState) load(ctx context.Context, tx Tx, nodeID string) error {
	tx.Queue(`select n.name, n.drain, clock_timestamp() from public.nodes n
		where n.id = $1 and n.drain ->> 'phase' = 'draining' for no key update`, nodeID).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&s.name, &s.drain, &s.now); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	tx.Queue("select "+podColumns+` from public.pods p
		where p.node_id = $1 and p.status in ('scheduled', 'starting', 'running', 'stopping', 'unknown') order by p.id`, nodeID).
		Query(all(&s.pods, scanPod))
	tx.Queue(`select count(*) from public.pod_runs r join public.pods p on p.id = r.pod_id
		where r.node_id = $1 and r.status in ('starting', 'running', 'stopping') and p.node_id is distinct from $1`, nodeID).
		Query(one(&s.runs, scanInt))
	s.budgets = map[string]budget{}
	err := tx.Query(ctx, budgetsInto(s.budgets), budgetsSQL, nodeID)
	if s.drain != nil {
		s.before = *s.drain
	}
	return err
}

// allowed implements the question of node.PlanDrain.
func (s *drainState) allowed(namespace string) (now, most int, limited bool) {
	b, limited := s.budgets[namespace]
	return max(b.most-b.unavailable, 0), b.most, limited
}

// next brings the drain's figures up to date and reports whether it has ended.
func (s *drainState) next(step node.DrainStep) bool {
	d := s.drain
	d.Remaining, d.Blocked = step.Remaining+s.runs, len(step.Blocked)
	d.Total = max(d.Total, d.Remaining)
	switch {
	case d.Remaining == 0:
		d.Phase, d.FinishedAt = api.Drained, &s.now
	case d.Deadline != nil && s.now.After(*d.Deadline):
		d.Phase, d.FinishedAt = api.DrainTimedOut, &s.now
	}
	return d.FinishedAt != nil
}

func (s *drainState) orders(pods []api.Pod) []Eviction {
	orders := make([]Eviction, 0, len(pods))
	for _, p := range pods[:min(len(pods), evictAtOnce)] {
		orders = append(orders, Eviction{PodID: p.ID, Incarnation: p.Incarnation, Order: api.Eviction{
			Reason: api.ReasonEvicted, Message: fmt.Sprintf("node %s is drained", s.name), By: s.drain.By, GraceSeconds: s.drain.GraceSeconds,
		}})
	}
	return orders
}

// store writes what has changed: a drain that waits writes nothing.
func (s *drainState) store(tx Tx, nodeID string, blocked []api.DrainBlock) error {
	rows := make([]map[string]string, len(blocked))
	for i, b := range blocked {
		rows[i] = map[string]string{"pod_id": b.PodID, "reason": b.Reason, "message": b.Message}
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "blocked pods could not be encoded")
	}
	tx.Queue(`with b as (select * from jsonb_to_recordset($2::text::jsonb) as b (pod_id uuid, reason text, message text)),
		gone as (delete from stark.drain_blocks o where o.node_id = $1 and o.pod_id not in (select b.pod_id from b))
		insert into stark.drain_blocks as o (pod_id, node_id, reason, message)
		select b.pod_id, $1, b.reason, b.message from b
		on conflict (pod_id) do update set node_id = excluded.node_id, reason = excluded.reason, message = excluded.message
		where (o.node_id, o.reason, o.message) is distinct from (excluded.node_id, excluded.reason, excluded.message)`, nodeID, string(text))
	if *s.drain == s.before {
		return nil
	}
	drain, err := jsonText(s.drain)
	if err != nil {
		return err
	}
	tx.Queue("update public.nodes n set drain = $2::text::jsonb where n.id = $1", nodeID, drain)
	return nil
}
