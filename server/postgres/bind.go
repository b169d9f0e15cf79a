package postgres

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/scheduler"
)

// bindSQL binds pods to nodes where the plan still holds: the pod is pending in
// that incarnation and the node takes pods. Without the lease it does nothing.
const bindSQL = "with " + leaseSQL + `,
	d as (
		select * from unnest(@pods::text[]::uuid[], @incarnations::bigint[], @nodes::text[]::uuid[]) as d (pod_id, incarnation, node_id)),
	bound as (
		update public.pods p set status = 'scheduled', node_id = d.node_id, reason = null, status_message = null
		from d, lease
		where p.id = d.pod_id and p.status = 'pending' and p.incarnation = d.incarnation
			and exists (select from public.nodes n where n.id = d.node_id and n.status = 'online' and not n.unschedulable)
		returning p.id),
	settled as (delete from stark.verdicts v using bound where v.pod_id = bound.id)
	select (select count(*) from lease), array(select id::text from bound)`

// verdictSQL stores why pods have no node; the newest word replaces the last. The
// pod's row says it too, for lists and watches, and is written only when the word
// changes: the scheduler may look again as often as it likes.
const verdictSQL = "with " + leaseSQL + `,
	d as (
		select p.id, d.reason, d.message, coalesce(d.nodes::jsonb, '[]') as nodes, d.plan_time
		from unnest(@pods::text[]::uuid[], @incarnations::bigint[], @reasons::text[], @messages::text[], @refusals::text[], @times::timestamptz[])
				as d (pod_id, incarnation, reason, message, nodes, plan_time)
			join public.pods p on p.id = d.pod_id and p.incarnation = d.incarnation and p.status = 'pending', lease
		order by p.id for no key update of p),
	told as (
		update public.pods p set reason = d.reason, status_message = left(d.message, 4096)
		from d
		where p.id = d.id and (p.reason, p.status_message) is distinct from (d.reason, left(d.message, 4096)))
	insert into stark.verdicts as v (pod_id, reason, message, nodes, plan_time)
	select d.id, d.reason, d.message, d.nodes, d.plan_time from d
	on conflict (pod_id) do update set reason = excluded.reason, message = excluded.message,
		nodes = excluded.nodes, plan_time = excluded.plan_time
	where (v.reason, v.message, v.nodes) is distinct from (excluded.reason, excluded.message, excluded.nodes)`

// Bind makes the scheduler's decisions true in one statement and stores the
// verdicts in another, in one transaction and one round trip. It gives back the
// decisions for nodes that came too late. A context outside of Lead, or of a
// term that is over, is refused with a Stale fault.
func (db *DB) Bind(ctx context.Context, ds []scheduler.Decision) (stale []scheduler.Decision, err error) {
	t, err := leading(ctx)
	if err != nil || len(ds) == 0 {
		return nil, err
	}
	placed, refused := splitDecisions(ds)
	binding := bindArgs(placed, t)
	verdicts, err := verdictArgs(refused, t)
	if err != nil {
		return nil, err
	}
	var held int
	var bound []string
	err = db.write(ctx, "bind", service, func(b *pgx.Batch) {
		b.Queue(bindSQL, binding).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				if err := rows.Scan(&held, &bound); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		if len(refused) > 0 {
			b.Queue(verdictSQL, verdicts)
		}
	})
	if err != nil {
		return nil, err
	}
	if held == 0 {
		return nil, deposed(t)
	}
	done := make(map[string]bool, len(bound))
	for _, id := range bound {
		done[id] = true
	}
	for _, d := range placed {
		if !done[d.PodID] {
			stale = append(stale, d)
		}
	}
	return stale, nil
}

// splitDecisions parts nodes from verdicts, ordered by pod, the order in which
// everybody locks pods.
func splitDecisions(ds []scheduler.Decision) (placed, refused []scheduler.Decision) {
	for _, d := range ds {
		switch {
		case d.NodeID != "":
			placed = append(placed, d)
		case d.Verdict != nil:
			refused = append(refused, d)
		}
	}
	byPod := func(a, b scheduler.Decision) int { return strings.Compare(a.PodID, b.PodID) }
	slices.SortFunc(placed, byPod)
	slices.SortFunc(refused, byPod)
	return placed, refused
}

func bindArgs(ds []scheduler.Decision, t term) pgx.StrictNamedArgs {
	pods, nodes, incarnations := make([]string, len(ds)), make([]string, len(ds)), make([]int64, len(ds))
	for i, d := range ds {
		pods[i], nodes[i], incarnations[i] = d.PodID, d.NodeID, int64(d.Incarnation)
	}
	return pgx.StrictNamedArgs{"epoch": t.epoch, "pods": pods, "incarnations": incarnations, "nodes": nodes}
}

func verdictArgs(ds []scheduler.Decision, t term) (pgx.StrictNamedArgs, error) {
	n := len(ds)
	pods, reasons, messages := make([]string, n), make([]string, n), make([]string, n)
	incarnations, refusals, times := make([]int64, n), make([]*string, n), make([]time.Time, n)
	for i, d := range ds {
		pods[i], reasons[i], messages[i] = d.PodID, d.Verdict.Reason, d.Verdict.Message
		incarnations[i], times[i] = int64(d.Incarnation), d.Verdict.PlanTime
		var err error
		if refusals[i], err = jsonText(orNone(d.Verdict.Nodes)); err != nil {
			return nil, err
		}
	}
	return pgx.StrictNamedArgs{
		"epoch": t.epoch, "pods": pods, "incarnations": incarnations, "reasons": reasons,
		"messages": messages, "refusals": refusals, "times": times,
	}, nil
}
