package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
)

// overdueAtOnce bounds one statement; what is left follows within a second.
const overdueAtOnce = 1000

// overdueSQL says of pods that their nodes have not told their end in time. Whether that
// is so is judged here, by the database's clock and as the rows are now; when is said by
// core/pod in the same way.
const overdueSQL = "with " + leaseSQL + `,
	d as (
		select p.id, d.message
		from unnest(@pods::text[]::uuid[], @incarnations::integer[], @messages::text[]) d (pod_id, incarnation, message)
			join public.pods p on p.id = d.pod_id and p.incarnation = d.incarnation, lease
		where p.status = 'stopping' and p.reason is distinct from @reason
			and clock_timestamp() > coalesce(p.stop_requested_at, (p.eviction ->> 'since')::timestamptz)
				+ make_interval(secs => @margin + case when p.stop_requested_at is null
					then coalesce((p.eviction ->> 'graceSeconds')::integer, p.termination_grace_period_seconds)
					else p.termination_grace_period_seconds end)
		order by p.id for no key update of p skip locked),
	told as (
		update public.pods p set reason = @reason, status_message = d.message from d where p.id = d.id
		returning p.id)
	select (select count(*) from lease), array(select id::text from told)`

// TellOverdueStops says in these pods, once, that their nodes have not told their end in
// time, and gives those of which it said so. The pods go on as they are: whether they have
// ended their nodes alone can know. Only a leader may; it fails with Stale otherwise.
func (db *DB) TellOverdueStops(ctx context.Context, pods []api.Pod) (told []string, err error) {
	t, err := leading(ctx)
	if err != nil || len(pods) == 0 {
		return nil, err
	}
	var ids, messages []string
	var incarnations []int
	for _, p := range pods[:min(len(pods), overdueAtOnce)] {
		ids, incarnations, messages = append(ids, p.ID), append(incarnations, p.Incarnation), append(messages, pod.OverdueMessage(p))
	}
	held := 0
	err = db.write(ctx, "tell of overdue stops", service, func(b *pgx.Batch) {
		b.Queue(overdueSQL, pgx.StrictNamedArgs{
			"epoch": t.epoch, "pods": ids, "incarnations": incarnations, "messages": messages,
			"reason": api.ReasonStopOverdue, "margin": int(pod.StopMargin.Seconds()),
		}).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				if err := rows.Scan(&held, &told); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	})
	if err == nil && held == 0 {
		err = deposed(t)
	}
	return told, err
}
