package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// compactAfter is the age at which changes leave the log. A feed that has not
// read for half of it reads everything anew, so nobody needs older rows.
const compactAfter = 10 * time.Minute

const purgeAtOnce = 500

// CompactResult is what Compact has removed.
type CompactResult struct {
	Changes, Pods, Tokens int
}

// Compact removes old rows of the change log, ended pods past their retention
// and join tokens that can no longer be used. Only a leader may; more than a few
// hundred pods take more than one call.
func (db *DB) Compact(ctx context.Context) (CompactResult, error) {
	t, err := leading(ctx)
	if err != nil {
		return CompactResult{}, err
	}
	var out CompactResult
	err = db.transaction(ctx, "compact", service, func(tx Tx) error {
		out = CompactResult{}
		var held int
		if err := tx.Query(ctx, one(&held, scanInt), "with "+leaseSQL+" select count(*) from lease",
			pgx.StrictNamedArgs{"epoch": t.epoch}); err != nil {
			return err
		}
		if held == 0 {
			return deposed(t)
		}
		tx.Queue("select stark.compact_changes($1::text::interval)", compactAfter.String()).Query(one(&out.Changes, scanInt))
		tx.Queue("select stark.purge_terminal_pods($1)", purgeAtOnce).Query(one(&out.Pods, scanInt))
		tx.Queue(`with gone as (
				delete from stark.join_tokens where expires_at < now() - interval '1 day' returning 1)
			select count(*) from gone`).Query(one(&out.Tokens, scanInt))
		return nil
	})
	return out, err
}
