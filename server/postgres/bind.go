package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// indexedSQL has the statements of a transaction find rows by an index. Statistics lag
// behind, and a session keeps its plans: one that was made when there were few pods reads
// all of them, and takes the list of ids apart anew for each, which is seconds for a
// thousand ids in ten thousand pods. What cannot be found so looks very dear, and must not
// be compiled.
const indexedSQL = "select set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)"

// hashedSQL has them join by hash as well. A plan that expects few pods, as after a time
// without pending ones, compares each of ten thousand with each of two thousand decisions.
// One decision loses nothing by it. The rows are also named by arrays, so that they are
// found by the index.
const hashedSQL = "select set_config('enable_nestloop', 'off', true), set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)"

// scannedSQL ends that, for a statement that finds its rows by others.
const scannedSQL = "select set_config('enable_seqscan', 'on', true)"

// bindSQL binds pods to nodes where the plan still holds: the pod is pending in that
// incarnation and the node takes pods, or is cordoned and the pod tolerates that. Without
// the lease it does nothing. It sets the times itself, so that the trigger that would set
// them need not be called for each row. A pod for which a version is named is bound in that
// version alone. It gives also the transaction and the time that it has set.
const bindSQL = "with " + leaseSQL + `,
	d as (
		select * from unnest(@pods::text[]::uuid[], @incarnations::bigint[], @nodes::text[]::uuid[], @versions::text[]::xid[])
			as d (pod_id, incarnation, node_id, version)),
	bound as (
		update public.pods p set status = 'scheduled', node_id = d.node_id, reason = null, status_message = null,
			nominated_node_id = null, scheduled_at = now(), updated_at = now()
		from d, lease
		where p.id = d.pod_id and p.id = any (@pods::text[]::uuid[]) and p.status = 'pending' and p.incarnation = d.incarnation
			and (d.version is null or p.xmin = d.version)
			and exists (select from public.nodes n where n.id = d.node_id and n.id = any (@nodes::text[]::uuid[]) and n.status = 'online'
				and (not n.unschedulable or exists (select from jsonb_array_elements(p.tolerations) t
					where coalesce(t ->> 'effect', '') in ('', 'NoSchedule')
						and (t ->> 'operator' = 'Exists' and coalesce(t ->> 'key', '') in ('', 'node.stark.io/unschedulable')
							or coalesce(t ->> 'operator', '') in ('', 'Equal') and t ->> 'key' = 'node.stark.io/unschedulable'
								and coalesce(t ->> 'value', '') = ''))))
		returning p.id),
	settled as (delete from stark.verdicts v using bound where v.pod_id = bound.id)
	select (select count(*) from lease), array(select id::text from bound), pg_current_xact_id()::text, now()`

// verdictSQL stores why pods have no node; the newest word replaces the last. The
// pod's row says it too, for lists and watches, and is written only when the word
// changes: the scheduler may look again as often as it likes.
const verdictSQL = "with " + leaseSQL + `,
	d as (
		select p.id, d.reason, d.message, d.change, coalesce(d.nodes::jsonb, '[]') as nodes, d.plan_time,
			nullif(d.nominated, '')::uuid as nominated
		from unnest(@pods::text[]::uuid[], @incarnations::bigint[], @reasons::text[], @messages::text[], @changes::text[],
				@refusals::text[], @times::timestamptz[], @nominated::text[])
				as d (pod_id, incarnation, reason, message, change, nodes, plan_time, nominated)
			join public.pods p on p.id = d.pod_id and p.id = any (@pods::text[]::uuid[]) and p.incarnation = d.incarnation and p.status = 'pending', lease
		order by p.id for no key update of p),
	told as (
		update public.pods p set reason = d.reason, status_message = left(d.message, 4096), nominated_node_id = d.nominated
		from d
		where p.id = d.id
			and (p.reason, p.status_message, p.nominated_node_id) is distinct from (d.reason, left(d.message, 4096), d.nominated))
	insert into stark.verdicts as v (pod_id, reason, message, change, nodes, plan_time)
	select d.id, d.reason, d.message, d.change, d.nodes, d.plan_time from d
	on conflict (pod_id) do update set reason = excluded.reason, message = excluded.message,
		change = excluded.change, nodes = excluded.nodes, plan_time = excluded.plan_time
	where (v.reason, v.message, v.change, v.nodes) is distinct from (excluded.reason, excluded.message, excluded.change, excluded.nodes)`

// preemptSQL tells victims to leave, all of a pod's or none: only while the pod waits
// in that incarnation, each victim is there as the plan saw it, and all of them together
// are within the disruption budgets of their namespaces, for which they and disruptions
// are locked before. It gives the pods whose victims were told.
const preemptSQL = "with " + leaseSQL + `,
	d as (
		select * from jsonb_to_recordset(@victims::text::jsonb)
			as d (preemptor uuid, preemptor_incarnation bigint, pod_id uuid, incarnation bigint, eviction jsonb)),
	there as (
		select p.id, d.preemptor, d.eviction, p.namespace, p.status
		from d join public.pods p on p.id = d.pod_id and p.incarnation = d.incarnation
			join public.pods w on w.id = d.preemptor and w.incarnation = d.preemptor_incarnation and w.status = 'pending'
				and w.stop_requested_at is null, lease
		where p.status in ('scheduled', 'starting', 'running', 'unknown') and p.eviction is null and p.stop_requested_at is null
		order by p.id for no key update of p),
	overdrawn as (
		select s.name from public.namespaces s
		where s.disruption_budget is not null and s.name in (select t.namespace from there t)
			and (s.disruption_budget ->> 'maxUnavailable')::bigint
				< (select count(*) from public.pods p where p.namespace = s.name and ` + unavailableSQL + `)
					+ (select count(*) from there t where t.namespace = s.name and t.status = 'running')),
	whole as (
		select d.preemptor from d group by d.preemptor
		having count(*) = (select count(*) from there t where t.preemptor = d.preemptor)
			and not exists (select from there t join overdrawn o on o.name = t.namespace
				where t.preemptor = d.preemptor and t.status = 'running')),
	told as (
		update public.pods p set eviction = t.eviction || jsonb_build_object('since', now()),
			status = case when p.status = 'unknown' then p.status else 'stopping' end,
			reason = t.eviction ->> 'reason', status_message = left(t.eviction ->> 'message', 4096)
		from there t join whole w on w.preemptor = t.preemptor
		where p.id = t.id)
	select (select count(*) from lease), array(select preemptor::text from whole)`

// Bind makes the scheduler's decisions true in one statement, stores the verdicts in
// another and tells victims to leave in further ones, in one transaction and one round
// trip. It gives back the decisions for nodes, and those with victims, that came too
// late. A context outside of Lead, or of a
// term that is over, is refused with a Stale fault.
//
// Pods that the read model knows are bound in the version that it knows, so that the feed
// need not read what has become of them. Those that have another by now, and may be bound
// all the same, are bound by a second transaction.
func (db *DB) Bind(ctx context.Context, ds []scheduler.Decision) (stale []scheduler.Decision, err error) {
	t, err := leading(ctx)
	if err != nil || len(ds) == 0 {
		return nil, err
	}
	placed, refused := splitDecisions(ds)
	verdicts, err := verdictArgs(refused, t)
	if err != nil {
		return nil, err
	}
	victims, err := victimArgs(refused, t)
	if err != nil {
		return nil, err
	}
	var foreseen map[string]*ownPod
	var done bindOutcome
	var preempted []string
	err = db.writeOwn(ctx, "bind", service, func(b *pgx.Batch, conn *pgx.Conn) {
		foreseen = db.foresee(placed, conn)
		b.Queue(hashedSQL)
		b.Queue(bindSQL, bindArgs(placed, foreseen, t)).Query(done.read)
		if len(refused) > 0 {
			b.Queue(verdictSQL, verdicts)
		}
		if victims != nil {
			b.Queue(holdVictimsSQL, leaving(refused))
			b.Queue("select " + disruptionLockSQL)
			b.Queue(scannedSQL)
			b.Queue(preemptSQL, victims).Query(heldAnd(&done.held, &preempted))
		}
	}, func() { db.own.bound(foreseen, done) })
	switch {
	case err != nil:
		return nil, err
	case done.held == 0:
		return nil, deposed(t)
	}
	again := slices.DeleteFunc(late(placed, done.bound, nil), func(d scheduler.Decision) bool { return foreseen[d.PodID] == nil })
	if len(again) > 0 {
		var others bindOutcome
		if err := db.write(ctx, "bind", service, func(b *pgx.Batch) {
			b.Queue(hashedSQL)
			b.Queue(bindSQL, bindArgs(again, nil, t)).Query(others.read)
		}); err != nil {
			return nil, err
		}
		done.bound = append(done.bound, others.bound...)
	}
	return late(ds, done.bound, preempted), nil
}

// settleLimit bounds how long Settle waits for the feed.
const settleLimit = 10 * time.Second

// Settle waits until the read model knows of all binds, by this server and by leaders
// before, also of those that are under way: they hold the lock of the lease that it takes.
func (db *DB) Settle(ctx context.Context) error {
	if db.model == nil {
		return nil
	}
	var at position
	err := db.read(ctx, "settle", service, func(b *pgx.Batch) {
		b.Queue("select from stark.leader_lease l where l.name = 'leader' for update")
		b.Queue("select pg_current_snapshot()::text, " + positionSQL).
			QueryRow(func(row pgx.Row) error { return row.Scan(&at.snap, &at.at, &at.born) })
	})
	if err != nil {
		return err
	}
	db.refresh()
	within, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if err := db.model.Await(within, func(have string) bool { return db.Covers(have, at.String()) }); err != nil {
		return fault.Wrap(err, fault.Unavailable, "the read model is behind the database")
	}
	return nil
}

// bindOutcome is what bindSQL gives.
type bindOutcome struct {
	held        int
	bound       []string
	transaction string
	at          time.Time
}

func (o *bindOutcome) read(rows pgx.Rows) error {
	for rows.Next() {
		if err := rows.Scan(&o.held, &o.bound, &o.transaction, &o.at); err != nil {
			return err
		}
	}
	return rows.Err()
}

// heldAnd reads whether the term is held, and the ids that a statement gives.
func heldAnd(held *int, ids *[]string) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(held, ids); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

// late gives the decisions that should have done something and did not.
func late(ds []scheduler.Decision, bound, preempted []string) []scheduler.Decision {
	done := make(map[string]bool, len(bound)+len(preempted))
	for _, id := range bound {
		done[id] = true
	}
	for _, id := range preempted {
		done[id] = true
	}
	var stale []scheduler.Decision
	for _, d := range ds {
		if (d.NodeID != "" || len(d.Victims) > 0) && !done[d.PodID] {
			stale = append(stale, d)
		}
	}
	return stale
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

// bindArgs are the arguments of bindSQL; a pod that is foreseen is bound in the version that
// this is by.
func bindArgs(ds []scheduler.Decision, foreseen map[string]*ownPod, t term) pgx.StrictNamedArgs {
	pods, nodes, incarnations, versions := make([]string, len(ds)), make([]string, len(ds)), make([]int64, len(ds)), make([]*string, len(ds))
	for i, d := range ds {
		pods[i], nodes[i], incarnations[i] = d.PodID, d.NodeID, int64(d.Incarnation)
		if p := foreseen[d.PodID]; p != nil {
			versions[i] = &p.from
		}
	}
	return pgx.StrictNamedArgs{"epoch": t.epoch, "pods": pods, "incarnations": incarnations, "nodes": nodes, "versions": versions}
}

func verdictArgs(ds []scheduler.Decision, t term) (pgx.StrictNamedArgs, error) {
	n := len(ds)
	pods, reasons, messages := make([]string, n), make([]string, n), make([]string, n)
	changes, nominated := make([]string, n), make([]string, n)
	incarnations, refusals, times := make([]int64, n), make([]*string, n), make([]time.Time, n)
	for i, d := range ds {
		pods[i], reasons[i], messages[i] = d.PodID, d.Verdict.Reason, d.Verdict.Message
		incarnations[i], times[i] = int64(d.Incarnation), d.Verdict.PlanTime
		changes[i], nominated[i] = d.Verdict.Change, d.NominatedNodeID
		var err error
		if refusals[i], err = jsonText(orNone(d.Verdict.Nodes)); err != nil {
			return nil, err
		}
	}
	return pgx.StrictNamedArgs{
		"epoch": t.epoch, "pods": pods, "incarnations": incarnations, "reasons": reasons,
		"messages": messages, "refusals": refusals, "times": times, "changes": changes, "nominated": nominated,
	}, nil
}

// victim is a row of preemptSQL.
type victim struct {
	Preemptor            string       `json:"preemptor"`
	PreemptorIncarnation int          `json:"preemptor_incarnation"`
	PodID                string       `json:"pod_id"`
	Incarnation          int          `json:"incarnation"`
	Eviction             api.Eviction `json:"eviction"` // Since is set by the database
}

// victimArgs are the arguments of preemptSQL, nil where nobody has to leave.
func victimArgs(ds []scheduler.Decision, t term) (pgx.NamedArgs, error) {
	var list []victim
	for _, d := range ds {
		for _, v := range d.Victims {
			list = append(list, victim{
				Preemptor: d.PodID, PreemptorIncarnation: d.Incarnation, PodID: v.PodID, Incarnation: v.Incarnation,
				Eviction: api.Eviction{
					Reason: api.ReasonPreempted, Preemptor: d.PodID,
					Message: fmt.Sprintf("makes room for pod %s, whose priority is higher than %d", d.PodID, v.Priority),
				},
			})
		}
	}
	if len(list) == 0 {
		return nil, nil //nolint:nilnil // nobody has to leave
	}
	text, err := jsonText(list)
	return pgx.NamedArgs{"epoch": t.epoch, "victims": text}, err
}

// leaving are the ids of all victims.
func leaving(ds []scheduler.Decision) []string {
	var ids []string
	for _, d := range ds {
		for _, v := range d.Victims {
			ids = append(ids, v.PodID)
		}
	}
	return ids
}
