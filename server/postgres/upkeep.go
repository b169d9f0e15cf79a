package postgres

import (
	"context"
	"time"
)

// compactAfter is the age at which changes leave the log. A feed that has not
// read for half of it reads everything anew, so nobody needs older rows.
const compactAfter = 10 * time.Minute

// purgeAtOnce is how many pods one transaction removes, so that none holds its
// locks for long.
const purgeAtOnce = 500

// historyAtOnce is how many entries of history go in one transaction.
const historyAtOnce = 5000

// CompactResult is what Compact has removed.
type CompactResult struct {
	Changes, Pods, History, Tokens, Credentials int
}

// Compact removes old rows of the change log, ended pods and history past their retention,
// join tokens, tickets and passes that can no longer be used, servers that have gone, answers kept for repeated requests, and credentials that were replaced long
// ago. Only a leader may. It goes on until no pod is left to remove or ctx ends:
// what a busy cluster ends within a minute may be more than one transaction should.
func (db *DB) Compact(ctx context.Context) (CompactResult, error) {
	t, err := leading(ctx)
	if err != nil {
		return CompactResult{}, err
	}
	var all CompactResult
	for {
		r, err := db.compactOnce(ctx, t)
		if err != nil {
			return all, err
		}
		all.Changes, all.Pods = all.Changes+r.Changes, all.Pods+r.Pods
		all.History += r.History
		all.Tokens, all.Credentials = all.Tokens+r.Tokens, all.Credentials+r.Credentials
		if r.Pods < purgeAtOnce && r.History < historyAtOnce {
			return all, nil
		}
	}
}

func (db *DB) compactOnce(ctx context.Context, t term) (CompactResult, error) {
	var out CompactResult
	err := db.transaction(ctx, "compact", service, func(tx Tx) error {
		out = CompactResult{}
		if err := hold(ctx, tx, t); err != nil {
			return err
		}
		tx.Queue("select stark.compact_changes($1::text::interval)", compactAfter.String()).Query(one(&out.Changes, scanInt))
		tx.Queue("select stark.purge_terminal_pods($1)", purgeAtOnce).Query(one(&out.Pods, scanInt))
		tx.Queue("select stark.purge_history($1)", historyAtOnce).Query(one(&out.History, scanInt))
		tx.Queue(`with gone as (
				delete from stark.join_tokens where expires_at < now() - interval '7 days' returning 1)
			select count(*) from gone`).Query(one(&out.Tokens, scanInt))
		tx.Queue("delete from stark.ws_tickets where expires_at < now() - interval '1 minute'")
		tx.Queue("delete from stark.relay_passes where expires_at < now() - interval '1 minute'")
		tx.Queue(`delete from stark.log_checkpoints c using public.pod_runs r
			where (r.pod_id, r.incarnation, r.attempt) = (c.pod_id, c.incarnation, c.attempt) and r.status = 'exited'`)
		tx.Queue("delete from stark.servers where renewed_at < now() - interval '1 hour'")
		tx.Queue("select stark.forget_idempotent_writes()")
		tx.Queue(`with gone as (
				delete from stark.node_credentials where revoked_at < now() - interval '30 days' returning 1)
			select count(*) from gone`).Query(one(&out.Credentials, scanInt))
		return nil
	})
	return out, err
}
