package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// NodeHealth is what a session told of its node: nil parts are not news.
type NodeHealth struct {
	NodeID, Session string
	Conditions      []api.NodeCondition
	Usage           *api.NodeUsage
}

// StoreHealth keeps the conditions and figures of nodes, in one round trip for all.
// Conditions touch the node's row, and so its watchers, only where they differ from
// what it has; the time of a transition is the database's. Figures go into a table
// of their own, which tells nobody. What a session tells of a node that it has lost
// counts for nothing.
func (db *DB) StoreHealth(ctx context.Context, all []NodeHealth) error {
	if len(all) == 0 {
		return nil
	}
	type row struct {
		NodeID     string `json:"node_id"`
		Session    string `json:"session"`
		Conditions any    `json:"conditions"`
		Usage      any    `json:"usage"`
	}
	rows := make([]row, len(all))
	for i, h := range all {
		rows[i] = row{NodeID: h.NodeID, Session: h.Session}
		if h.Conditions != nil {
			rows[i].Conditions = h.Conditions
		}
		if h.Usage != nil {
			rows[i].Usage = h.Usage
		}
	}
	raw, err := json.Marshal(rows)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "store health")
	}
	var changed int
	err = db.read(ctx, "store health", service, func(b *pgx.Batch) { // repeating it is harmless
		b.Queue(healthSQL, string(raw)).Query(one(&changed, scanInt))
	})
	if err == nil && changed > 0 {
		db.committed()
	}
	return err
}

const healthSQL = `with told as (
		select t.* from jsonb_to_recordset($1::text::jsonb) as t (node_id uuid, session text, conditions jsonb, usage jsonb)
			join stark.node_leases l using (node_id, session)),
	figures as (
		insert into stark.node_usage as f (node_id, at, usage)
		select t.node_id, now(), t.usage from told t where jsonb_typeof(t.usage) = 'object' order by t.node_id
		on conflict (node_id) do update set at = excluded.at, usage = excluded.usage),
	next as (
		select n.id, n.conditions as old, coalesce((
			select jsonb_agg(c || jsonb_build_object('lastTransitionTime', coalesce(
				(select o -> 'lastTransitionTime' from jsonb_array_elements(n.conditions) o
					where o ->> 'type' = c ->> 'type' and o -> 'status' = c -> 'status' limit 1), to_jsonb(now())))
				order by c ->> 'type')
			from jsonb_array_elements(t.conditions) c), '[]') as new
		from told t join public.nodes n on n.id = t.node_id
		where jsonb_typeof(t.conditions) = 'array' order by n.id for update of n),
	changed as (
		update public.nodes n set conditions = next.new from next where n.id = next.id and next.new <> next.old returning 1)
	select count(*)::int from changed`
