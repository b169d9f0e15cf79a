package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Events gives what happened to the pods and nodes that the caller may see, oldest
// first. Pods are read as the caller, so that RLS decides; the history of nodes is for
// all who may read nodes, which the caller of this function has to have checked. The
// query must be valid.
func (db *DB) Events(ctx context.Context, id access.Identity, q api.EventQuery) ([]api.Event, error) {
	order := "desc"
	if q.Oldest {
		order = "asc"
	}
	var pods, waiting, nodes []api.Event
	err := db.readAs(ctx, "events", id, func(b *pgx.Batch) {
		if q.Kind != api.EventNode {
			queuePodEvents(b, q, order, &pods, &waiting)
		}
		if q.Kind != api.EventPod {
			b.Queue(db.settings(), service.settings()...)
			queueNodeEvents(b, q, order, &nodes)
		}
	})
	if err != nil {
		return nil, err
	}
	all := slices.Concat(pods, waiting, nodes)
	slices.SortStableFunc(all, func(a, b api.Event) int { return a.Time.Compare(b.Time) })
	if over := len(all) - q.Limit; over > 0 {
		if q.Oldest {
			all = all[:q.Limit]
		} else {
			all = all[over:]
		}
	}
	for i := range all {
		all[i].Type = all[i].Judge()
	}
	return all, nil
}

// queuePodEvents reads the history, and beside it why pods wait that wait now: the
// scheduler's word is in the pod alone and changes without a move.
func queuePodEvents(b *pgx.Batch, q api.EventQuery, order string, history, waiting *[]api.Event) {
	b.Queue(`select h.id::text, h.created_at, h.pod_id::text, coalesce((select p.pack_name from public.pods p where p.id = h.pod_id), ''),
				h.namespace, h.action::text, coalesce(h.previous_status::text, ''), coalesce(h.new_status::text, ''),
				coalesce(h.reason, ''), coalesce(h.message, ''), coalesce(h.new_node_id, h.previous_node_id)::text, h.incarnation,
				coalesce(h.attempt, 0), coalesce(h.actor_id::text, '')
			from (
				select * from public.pod_history h
				where h.created_at >= $1 and ($2 = '' or h.namespace = $2) and ($3 = '' or h.pod_id::text = $3)
				order by h.created_at `+order+`, h.id limit $4) h`, q.Since, q.Namespace, q.ObjectID, q.Limit).
		Query(all(history, scanPodEvent))
	b.Queue(`select 'waiting-' || p.id || '-' || extract(epoch from p.updated_at), p.updated_at, p.id::text, p.pack_name,
				p.namespace, 'waiting', p.status::text, p.status::text, p.reason, coalesce(p.status_message, ''), null::text, p.incarnation, 0, ''
			from public.pods p
			where p.status = 'pending' and p.reason is not null and p.updated_at >= $1
				and ($2 = '' or p.namespace = $2) and ($3 = '' or p.id::text = $3)
			order by p.updated_at `+order+`, p.id limit $4`, q.Since, q.Namespace, q.ObjectID, q.Limit).
		Query(all(waiting, scanPodEvent))
}

func scanPodEvent(row pgx.CollectableRow) (api.Event, error) {
	e := api.Event{Kind: api.EventPod}
	var node *string
	err := row.Scan(&e.ID, &e.Time, &e.ObjectID, &e.ObjectName, &e.Namespace, &e.Action, &e.PreviousStatus, &e.NewStatus,
		&e.Reason, &e.Message, &node, &e.Incarnation, &e.Attempt, &e.ActorID)
	if node != nil {
		e.NodeID = *node
	}
	return e, err
}

// queueNodeEvents is sent as the service.
func queueNodeEvents(b *pgx.Batch, q api.EventQuery, order string, found *[]api.Event) {
	b.Queue(`select h.id::text, h.created_at, h.node_id::text, h.node_name, h.action, coalesce(h.previous_status::text, ''),
				coalesce(h.new_status::text, ''), coalesce(h.reason, ''), coalesce(h.message, ''), coalesce(h.actor_id::text, '')
			from stark.node_history h
			where h.created_at >= $1 and ($2 = '' or h.node_id::text = $2)
			order by h.created_at `+order+`, h.id limit $3`, q.Since, q.ObjectID, q.Limit).
		Query(all(found, func(row pgx.CollectableRow) (api.Event, error) {
			e := api.Event{Kind: api.EventNode}
			err := row.Scan(&e.ID, &e.Time, &e.ObjectID, &e.ObjectName, &e.Action, &e.PreviousStatus, &e.NewStatus,
				&e.Reason, &e.Message, &e.ActorID)
			return e, err
		}))
}
