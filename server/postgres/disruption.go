package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Preemptions and drains heed disruption budgets, and work beside each other. Whoever tells
// pods to leave so does it in three statements of one transaction: it locks them, in their
// order, takes the lock of all disruptions, and counts again. Each statement sees what was
// committed before it, so that the count has all that was told before; and the lock, which
// is taken last, is held by nobody who waits for a row. A lock on the rows of namespaces
// would do as well, but for that every new pod waits for those, to be counted in the quota.

// disruptionLockSQL is taken before what a disruption budget covers is counted, until those
// are told to leave whom it lets go.
const disruptionLockSQL = "pg_advisory_xact_lock(hashtextextended('stark.disruption', 0))"

// holdVictimsSQL locks who is to make room.
const holdVictimsSQL = "select from public.pods p where p.id = any ($1::text[]::uuid[]) order by p.id for no key update"

// unavailableSQL is namespace.Unavailable of the pod p.
const unavailableSQL = `p.status not in ('succeeded', 'stopped', 'failed', 'evicted') and p.stop_requested_at is null
	and case p.status when 'pending' then p.incarnation > 1 when 'running' then p.eviction is not null else true end`

// budgetsSQL gives the budgets of the pods of a node, and how much of each is used up.
const budgetsSQL = `select s.name, (s.disruption_budget ->> 'maxUnavailable')::integer, count(p.id) filter (where ` + unavailableSQL + `)
	from public.namespaces s join public.pods p on p.namespace = s.name
	where s.disruption_budget is not null and s.name in (select h.namespace from public.pods h where h.node_id = $1)
	group by s.name, s.disruption_budget`

type budget struct{ most, unavailable int }

// budgetsInto reads the rows of budgetsSQL.
func budgetsInto(out map[string]budget) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			var name string
			var b budget
			if err := rows.Scan(&name, &b.most, &b.unavailable); err != nil {
				return err
			}
			out[name] = b
		}
		return rows.Err()
	}
}

// settle plans the step of a drain again, once nobody else can tell the pods to leave that
// it would, or use up their budgets. What has become of those pods is read as well: one that
// did not run counts from when it does. Whoever could leave by now besides them is not
// locked, and left to the next step.
func (s *drainState) settle(ctx context.Context, tx Tx, nodeID string, leaving []api.Pod) (node.DrainStep, error) {
	asked := map[string]bool{}
	for _, p := range leaving[:min(len(leaving), evictAtOnce)] {
		asked[p.ID] = true
	}
	var held []api.Pod
	s.budgets = map[string]budget{}
	tx.Queue("select "+podColumns+` from public.pods p
		where p.id = any ($2::text[]::uuid[]) and p.node_id = $1 and p.status in ('scheduled', 'starting', 'running', 'stopping', 'unknown')
		order by p.id for no key update of p`, nodeID, slices.Collect(maps.Keys(asked))).Query(all(&held, scanPod))
	tx.Queue("select " + disruptionLockSQL)
	if err := tx.Query(ctx, budgetsInto(s.budgets), budgetsSQL, nodeID); err != nil {
		return node.DrainStep{}, err
	}
	now := make(map[string]api.Pod, len(held))
	for _, p := range held {
		now[p.ID] = p
	}
	pods := s.pods
	s.pods = make([]api.Pod, 0, len(pods))
	for _, p := range pods {
		is, there := now[p.ID]
		switch {
		case there:
			s.pods = append(s.pods, is)
		case !asked[p.ID]:
			s.pods = append(s.pods, p)
		}
	}
	step := node.PlanDrain(*s.drain, s.pods, s.allowed)
	step.Evict = slices.DeleteFunc(step.Evict, func(p api.Pod) bool { return !asked[p.ID] })
	return step, nil
}
