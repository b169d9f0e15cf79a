package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Eviction orders one pod, in one incarnation, to leave its node.
type Eviction struct {
	PodID       string       `json:"pod_id"`
	Incarnation int          `json:"incarnation"`
	Order       api.Eviction `json:"eviction"` // Since is set by the database
}

// evictSQL tells pods to leave their nodes, once: one that was told already, that is
// stopping or has ended, or that has another incarnation by now, is left alone. Without
// the lease it does nothing. A pod whose node is silent is told too, but stays unknown:
// the sweep gives it up in its time.
const evictSQL = "with " + leaseSQL + `,
	d as (
		select p.id, d.eviction
		from jsonb_to_recordset(@evictions::text::jsonb) as d (pod_id uuid, incarnation integer, eviction jsonb)
			join public.pods p on p.id = d.pod_id and p.incarnation = d.incarnation, lease
		where p.status in ('scheduled', 'starting', 'running', 'unknown') and p.eviction is null and p.stop_requested_at is null
		order by p.id for no key update of p),
	told as (
		update public.pods p set eviction = d.eviction || jsonb_build_object('since', now()),
			status = case when p.status = 'unknown' then p.status else 'stopping' end,
			reason = d.eviction ->> 'reason', status_message = left(d.eviction ->> 'message', 4096)
		from d where p.id = d.id
		returning p.id)
	select (select count(*) from lease), array(select id::text from told)`

// evictArgs are the arguments of evictSQL, ordered by pod, the order in which
// everybody locks pods.
func evictArgs(evictions []Eviction, t term) (pgx.StrictNamedArgs, error) {
	sorted := slices.Clone(evictions)
	slices.SortFunc(sorted, func(a, b Eviction) int { return strings.Compare(a.PodID, b.PodID) })
	for i := range sorted {
		sorted[i].Order.Message = cut(sorted[i].Order.Message, maxMessage)
		if !api.ValidID(sorted[i].PodID) {
			return nil, fault.New(fault.Internal, "evict: %q is no pod", sorted[i].PodID)
		}
	}
	text, err := json.Marshal(sorted)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "evictions could not be encoded")
	}
	return pgx.StrictNamedArgs{"epoch": t.epoch, "evictions": string(text)}, nil
}

// queuer is a Tx or a batch.
type queuer interface {
	Queue(sql string, args ...any) *pgx.QueuedQuery
}

// queueEvictions adds evictions to a transaction or batch of the leader, so that they
// happen together with what they are for. When that is sent, held is 0 if the term is
// over, and told has the pods that were told by this call.
func queueEvictions(q queuer, t term, evictions []Eviction, held *int, told *[]string) error {
	args, err := evictArgs(evictions, t)
	if err != nil {
		return err
	}
	q.Queue(evictSQL, args).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(held, told); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return nil
}

// Evict tells pods to leave their nodes, in one statement, and gives those that were
// told by this call. Their agents stop them within their grace; what becomes of them
// then is decided by core/pod. Only a leader may; it fails with Stale otherwise.
func (db *DB) Evict(ctx context.Context, evictions []Eviction) (told []string, err error) {
	t, err := leading(ctx)
	if err != nil || len(evictions) == 0 {
		return nil, err
	}
	held, queued := 0, error(nil)
	err = db.write(ctx, "evict", service, func(b *pgx.Batch) {
		queued = queueEvictions(b, t, evictions, &held, &told)
	})
	switch {
	case queued != nil:
		return nil, queued
	case err == nil && held == 0:
		err = deposed(t)
	}
	return told, err
}
