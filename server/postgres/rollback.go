package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// rolloutLimit is how long the next version of a pod may take to be ready.
const rolloutLimit = 10 * time.Minute

// RollbackPod takes a pod to another version of its pack. The rules stand in
// public.rollback_pod. It fails with NotFound, Forbidden, InvalidState for a pod that
// ends or has ended, SameVersion, and VersionNotFound.
func (db *DB) RollbackPod(ctx context.Context, id access.Identity, podID string, r api.RollbackRequest) (api.Rollback, error) {
	var out api.Rollback
	if err := checkID(podID, "pod"); err != nil {
		return out, err
	}
	var pod api.Pod
	err := db.changeAs(ctx, "roll back pod", id, kindPod, podID, func(b *pgx.Batch) {
		out = api.Rollback{}
		b.Queue("select public.rollback_pod($1, nullif($2, ''), $3, nullif($4, ''))", podID, r.TargetVersion, r.Now, r.Reason).
			QueryRow(func(row pgx.Row) error { return row.Scan(&out) })
		b.Queue("select "+podColumns+" from public.pods p where p.id = $1", podID).Query(one(&pod, scanPod))
	})
	out.Pod = pod
	return out, err
}

// giveUpRollouts ends the replacements that have not become ready in time; their pods
// run on as they were. A context of the leader's transaction.
func giveUpRollouts(ctx context.Context, tx Tx) (ended []string, err error) {
	err = tx.Query(ctx, all(&ended, scanText), `
		with late as (
			select p.id, x.version from public.pods p join public.packs x on x.id = p.next_pack_id
			where p.next_since < now() - $1::bigint * interval '1 millisecond' order by p.id for update of p skip locked)
		update public.pods p set next_pack_id = null, reason = $2,
			status_message = format('version %s was not ready within %s; version %s runs on', late.version, $3::text, p.pack_version)
		from late where p.id = late.id returning p.id::text`,
		rolloutLimit.Milliseconds(), api.ReasonRollbackFailed, fmt.Sprint(rolloutLimit))
	return ended, err
}
