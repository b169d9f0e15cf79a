package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// renewSQL takes no locks of its own before it updates leases: a lock is a record in the log
// of Postgres, and this is written for every heartbeat. Who gets in its way, in another
// order of the rows, makes it run again. Silent nodes, which are few, it does lock, and says
// what they were under the lock: a sweep may have made them unhealthy just now, and their
// pods unknown. One that somebody holds stays silent until its next heartbeat, and keeps
// those of the others from waiting.
const renewSQL = `with u as (select * from unnest($1::text[]::uuid[], $2::text[]) as u (node_id, session)),
	renewed as (
		update stark.node_leases l set renewed_at = now(), server_id = $3 from u
		where l.node_id = u.node_id and l.session = u.session returning l.node_id),
	silent as materialized (
		select n.id, n.status from public.nodes n join renewed on n.id = renewed.node_id
		where n.status in ('suspect', 'unhealthy', 'offline') order by n.id for no key update of n skip locked),
	back as (
		update public.nodes n set status = 'online', last_heartbeat = now() from silent
		where n.id = silent.id
		returning 1)
	select (select count(*) from back),
		array(select u.node_id::text from u where u.node_id not in (select renewed.node_id from renewed)
			union all select silent.id::text from silent where silent.status <> 'suspect')`

// RenewLeases stores that these sessions' nodes are alive, in one round trip for
// all. A session that a newer one has replaced renews nothing, and neither does one
// whose node was removed: lost names their nodes. Nodes that were thought to be lost
// are online again; lost names them too, for their pods were told of as unknown or given
// up meanwhile, and only a registration says what is alive on them.
func (db *DB) RenewLeases(ctx context.Context, nodeIDs, sessions []string) (lost []string, err error) {
	if len(nodeIDs) != len(sessions) {
		return nil, fault.New(fault.Internal, "renew leases: %d nodes and %d sessions", len(nodeIDs), len(sessions))
	}
	if len(nodeIDs) == 0 {
		return nil, nil
	}
	var r renewal
	err = db.read(ctx, "renew leases", service, func(b *pgx.Batch) { // repeating it is harmless
		r.queue(b, nodeIDs, sessions, db.serverID)
	})
	if err == nil && r.back > 0 {
		db.committed()
	}
	return r.lost, err
}

// renewal is what has become of leases that were to be renewed.
type renewal struct {
	back int // nodes that are online again
	lost []string
}

// queue renews leases. A session whose plan is of a time when there were few nodes would
// compare each of a thousand leases with each of ten thousand nodes, every second.
func (r *renewal) queue(b *pgx.Batch, nodeIDs, sessions []string, server string) {
	b.Queue(indexedSQL)
	b.Queue(renewSQL, nodeIDs, sessions, server).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&r.back, &r.lost); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// SetNodeStatus says what a session has seen of its node: online, suspect when
// the socket has closed, offline when the node left for good. It does nothing
// when a newer session has registered the node, and never overrides draining or
// maintenance except by offline.
func (db *DB) SetNodeStatus(ctx context.Context, nodeID, session string, status api.NodeStatus) error {
	if err := checkID(nodeID, "node"); err != nil {
		return err
	}
	var from []string
	switch status {
	case api.NodeOnline:
		from = []string{string(api.NodeSuspect), string(api.NodeUnhealthy), string(api.NodeOffline)}
	case api.NodeSuspect:
		from = []string{string(api.NodeOnline)}
	case api.NodeOffline:
		for _, s := range api.NodeStatuses {
			from = append(from, string(s))
		}
	default:
		return fault.New(fault.Validation, "a session cannot make a node %s", status)
	}
	return db.write(ctx, "set node status", service, func(b *pgx.Batch) {
		b.Queue(`update public.nodes n set status = $3::text::public.node_status, last_heartbeat = l.renewed_at
			from stark.node_leases l
			where n.id = $1 and l.node_id = n.id and l.session = $2 and n.status::text = any ($4::text[])
				and n.status::text <> $3`, nodeID, session, string(status), from)
		if status == api.NodeOffline {
			b.Queue("delete from stark.node_leases l where l.node_id = $1 and l.session = $2", nodeID, session)
		}
	})
}

// LeaveNode takes the node of a credential out of the cluster, if it has registered on
// that connection and on none since.
func (db *DB) LeaveNode(ctx context.Context, credential, connectionID string) error {
	c, err := db.NodeByCredential(ctx, credential)
	if err != nil {
		return err
	}
	return db.SetNodeStatus(ctx, c.NodeID, connectionID, api.NodeOffline)
}

// SweepResult is what a sweep has changed, by id.
type SweepResult struct {
	Suspect       []string // nodes: their lease has run out, a new leader gives them time
	Unhealthy     []string // nodes
	Offline       []string // nodes that were given up
	PodsUnknown   []string
	PodsMoved     []string // back to pending, in their next incarnation
	PodsEnded     []string // stopped or failed with NodeLost
	RunsLost      int
	RolloutsEnded []string // pods whose next version was not ready in time
}

// Changed reports whether the sweep has changed anything.
func (r SweepResult) Changed() bool {
	return len(r.Suspect)+len(r.Unhealthy)+len(r.Offline)+len(r.PodsUnknown)+len(r.PodsMoved)+len(r.PodsEnded)+len(r.RolloutsEnded) > 0
}

// silentSQL lists the nodes whose heartbeat is overdue. Their silence counts by
// the database's clock, and not from before the leader's term: after an outage
// of the database itself every lease has run out, and every node gets a fresh
// grace period. A node without a lease has left, or never came.
const silentSQL = `silent as materialized (
	select n.id, n.status, (n.status = 'offline' and l.node_id is null) as gone, t.eviction,
		clock_timestamp() - greatest(l.renewed_at, @since::timestamptz) - t.heartbeat as beyond,
		coalesce(clock_timestamp() - l.renewed_at > t.heartbeat, true) as overdue,
		clock_timestamp() - greatest(l.renewed_at, @since::timestamptz) > t.heartbeat as lost,
		clock_timestamp() - greatest(l.renewed_at, @since::timestamptz) > t.heartbeat + t.eviction
			or (n.status = 'offline' and l.node_id is null) as dead
	from public.nodes n left join stark.node_leases l on l.node_id = n.id,
		(select c.heartbeat_timeout_ms * interval '1 millisecond' as heartbeat,
			c.eviction_timeout_ms * interval '1 millisecond' as eviction from public.cluster_config c) t
	where coalesce(clock_timestamp() - l.renewed_at > t.heartbeat, true))`

// SweepNodes finds nodes that are silent, and gives up their runs in the end.
// Only a leader may; every change is made once however many sweep.
func (db *DB) SweepNodes(ctx context.Context) (SweepResult, error) {
	t, err := leading(ctx)
	if err != nil {
		return SweepResult{}, err
	}
	var out SweepResult
	err = db.transaction(ctx, "sweep nodes", service, func(tx Tx) error {
		out = SweepResult{}
		if err := hold(ctx, tx, t); err != nil {
			return err
		}
		if err := sweepNodes(ctx, tx, t, &out); err != nil {
			return err
		}
		if out.RolloutsEnded, err = giveUpRollouts(ctx, tx); err != nil {
			return err
		}
		if err := sweepPods(ctx, tx, t, &out); err != nil {
			return err
		}
		if !out.Changed() {
			return errNothingToDo
		}
		return nil
	})
	if err != nil {
		return SweepResult{}, err
	}
	return out, nil
}

// nextSQL is what becomes of silent nodes.
const nextSQL = `next as (
	select s.id, (case
		when s.dead then 'offline'
		when s.lost and s.status in ('online', 'suspect', 'draining', 'maintenance') then 'unhealthy'
		when s.status = 'online' then 'suspect' end)::public.node_status as status
	from silent s where s.status <> 'offline' and s.overdue)`

// sweepNodes locks silent nodes in one statement and judges them in a later one: a
// statement does not see what was written while it waited for a lock, and who has come
// back meanwhile is not silent.
func sweepNodes(ctx context.Context, tx Tx, t term, out *SweepResult) error {
	var held, quiet []string
	// In the order in which nodes that come back are locked, or the two would wait for
	// each other.
	if err := tx.Query(ctx, all(&held, scanText), "with "+silentSQL+", "+nextSQL+`
		select n.id::text from public.nodes n join next on next.id = n.id
		where next.status is not null and n.status <> next.status
		order by n.id for no key update of n`, pgx.StrictNamedArgs{"since": t.since}); err != nil || len(held) == 0 {
		return err
	}
	// A lease that somebody else holds is being renewed. It is not waited for: a heartbeat
	// locks the lease before the node. Nor do heartbeats wait for what the sweep does next.
	tx.Queue("savepoint asked")
	if err := tx.Query(ctx, all(&quiet, scanText), `with free as materialized (
			select l.node_id from stark.node_leases l where l.node_id = any ($1::text[]::uuid[]) for no key update of l skip locked)
		select v.id::text from unnest($1::text[]::uuid[]) v (id)
		where v.id in (select free.node_id from free) or not exists (select from stark.node_leases l where l.node_id = v.id)`,
		held); err != nil || len(quiet) == 0 {
		return err
	}
	tx.Queue("rollback to savepoint asked") // lets go of the leases
	return tx.Query(ctx, func(rows pgx.Rows) error {
		for rows.Next() {
			var id string
			var status api.NodeStatus
			if err := rows.Scan(&id, &status); err != nil {
				return err
			}
			switch status {
			case api.NodeSuspect:
				out.Suspect = append(out.Suspect, id)
			case api.NodeUnhealthy:
				out.Unhealthy = append(out.Unhealthy, id)
			default:
				out.Offline = append(out.Offline, id)
			}
		}
		return rows.Err()
	}, "with "+silentSQL+", "+nextSQL+`
		update public.nodes n set status = next.status,
			last_heartbeat = coalesce((select l.renewed_at from stark.node_leases l where l.node_id = n.id), n.last_heartbeat)
		from next
		where n.id = next.id and n.status <> next.status and n.id = any (@quiet::text[]::uuid[])
		returning n.id::text, n.status::text`, pgx.StrictNamedArgs{"since": t.since, "quiet": quiet})
}

// lostPod is a pod whose node is silent.
type lostPod struct {
	api.Pod
	gone      bool          // its node has left or was removed
	beyond    time.Duration // silence of its node beyond the heartbeat timeout
	otherwise time.Duration // how long pods stay bound that do not say
}

// lost reports whether the pod is to be given up: it tolerates a node that does not
// answer no longer. Who has left answers never again.
func (p lostPod) lost() bool {
	forever, d := node.UnreachableTolerance(p.Tolerations, p.otherwise)
	return p.gone || !forever && p.beyond > d
}

// lostRecordSQL is the record of a run that nobody will tell the end of: what its node
// has told of it last is all that is known of what it has used.
// reason and message are constants of ours.
func lostRecordSQL(reason, message string) string {
	return "jsonb_build_object('reason', '" + reason + "', 'message', '" + message + `',
	'attempt', r.attempt, 'finishedAt', now(), 'usage', coalesce((
		select jsonb_build_object('cpuMillis', 0, 'memoryMiB', coalesce(f -> 'memory', '0'), 'loopDelayMs', f -> 'loopDelayMs')
		from stark.node_usage u, jsonb_array_elements(u.usage -> 'pods') f
		where u.node_id = r.node_id and f ->> 'podId' = r.pod_id::text and f -> 'incarnation' = to_jsonb(r.incarnation) limit 1),
		'{"cpuMillis": 0, "memoryMiB": 0, "loopDelayMs": 0}'))`
}

// podsOfLostSQL are live pods of nodes that this sweep or an earlier one has made unhealthy:
// only such a node is asked to register when it is heard of again, and tells of its pods.
const podsOfLostSQL = `from public.pods p left join silent s on s.id = p.node_id
	where p.status in ('scheduled', 'starting', 'running', 'stopping', 'unknown')
		-- Of those that are unknown already only those that may be given up now.
		and (p.node_id is null or s.status in ('unhealthy', 'offline')
			and (s.dead or (s.lost and (p.status <> 'unknown' or p.tolerations <> '[]'))))`

// sweepPods makes live pods of lost nodes unknown, and gives up those of dead
// ones. It locks them first, as sweepNodes does, and decides by core/pod.
func sweepPods(ctx context.Context, tx Tx, t term, out *SweepResult) error {
	var held []string
	if err := tx.Query(ctx, all(&held, scanText), "with "+silentSQL+" select p.id::text "+podsOfLostSQL+" order by p.id for update of p",
		pgx.StrictNamedArgs{"since": t.since}); err != nil || len(held) == 0 {
		return err
	}
	var pods []lostPod
	err := tx.Query(ctx, all(&pods, func(row pgx.CollectableRow) (lostPod, error) {
		var p lostPod
		err := row.Scan(&p.ID, &p.Incarnation, &p.Status, &p.RestartPolicy, &p.StopRequestedAt, &p.Eviction, &p.Tolerations,
			&p.gone, &p.beyond, &p.otherwise)
		return p, err
	}), "with "+silentSQL+`
		select p.id::text, p.incarnation, p.status::text, p.restart_policy::text, p.stop_requested_at, p.eviction, p.tolerations,
			coalesce(s.gone, true), greatest(coalesce(s.beyond, '0'), '0'), coalesce(s.eviction, '0')
		`+podsOfLostSQL+` and p.id = any (@held::text[]::uuid[])
		order by p.id`, pgx.StrictNamedArgs{"since": t.since, "held": held})
	if err != nil || len(pods) == 0 {
		return err
	}
	var unknown, lost, statuses, reasons []string
	for _, p := range pods {
		if !p.lost() {
			if p.Status != api.PodUnknown {
				unknown = append(unknown, p.ID)
			}
			continue
		}
		status, reason := pod.AfterNodeLost(p.Pod)
		lost, statuses, reasons = append(lost, p.ID), append(statuses, string(status)), append(reasons, reason)
		if status == api.PodPending {
			out.PodsMoved = append(out.PodsMoved, p.ID)
		} else {
			out.PodsEnded = append(out.PodsEnded, p.ID)
		}
	}
	out.PodsUnknown = slices.Clone(unknown)
	tx.Queue(`update public.pods p set status = 'unknown', reason = 'NodeLost', status_message = 'the node does not answer'
		where p.id = any ($1::text[]::uuid[])`, unknown)
	tx.Queue(`with lost as (select p.id, p.incarnation from public.pods p where p.id = any ($1::text[]::uuid[])),
		runs as (
			update public.pod_runs r set status = 'lost', finished_at = now(), termination = `+
		lostRecordSQL(api.ReasonNodeLost, "the node is lost: how the run ended is not known")+` from lost
			where r.pod_id = lost.id and r.incarnation >= lost.incarnation and r.status not in ('exited', 'lost') returning 1)
		select count(*) from runs`, lost).Query(one(&out.RunsLost, scanInt))
	_, err = tx.Exec(ctx, `update public.pods p set status = v.status::public.pod_status,
			incarnation = p.incarnation + case when v.status = 'pending' then 1 else 0 end,
			node_id = case when v.status = 'pending' then null else p.node_id end,
			restarts = case when v.status = 'pending' then 0 else p.restarts end,
			reason = v.reason, status_message = 'the node is lost',
			last_termination = coalesce((select r.termination from public.pod_runs r where r.pod_id = p.id and r.incarnation = p.incarnation
				and r.status = 'lost' order by r.attempt desc limit 1), p.last_termination)
		from unnest($1::text[]::uuid[], $2::text[], $3::text[]) as v (id, status, reason) where p.id = v.id`, lost, statuses, reasons)
	return err
}
