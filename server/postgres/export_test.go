package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// CodeOfState gives the fault that a SQLSTATE is told as.
func CodeOfState(state string) fault.Code {
	return pgFault(errors.New("raised"), &pgconn.PgError{Code: state}).Code
}

// SinceForTest makes a leader's term older than it is, as it is after a while.
func SinceForTest(since time.Time) func(context.Context) context.Context {
	return func(ctx context.Context) context.Context {
		t := termOf(ctx)
		t.since = since
		return context.WithValue(ctx, termKey{}, t)
	}
}

// UnavailableSQL is namespace.Unavailable of the pod p.
const UnavailableSQL = unavailableSQL

// DisruptionLockSQL is what preemptions and drains take before they count.
const DisruptionLockSQL = disruptionLockSQL

// ReadsWaiting is how many reads of pods wait for the statements of one identity.
func (db *DB) ReadsWaiting(id access.Identity) int {
	d, err := userDoor(id)
	if err != nil {
		return 0
	}
	db.reads.mu.Lock()
	defer db.reads.mu.Unlock()
	if of := db.reads.callers[d]; of != nil {
		return len(of.waiting)
	}
	return 0
}

// CreatesWaiting is how many creates in a namespace wait for their turn.
func (db *DB) CreatesWaiting(namespace string) int {
	db.creates.mu.Lock()
	defer db.creates.mu.Unlock()
	return len(db.creates.groups[namespace])
}

// ReportsWaiting is how many nodes' reports wait to be stored.
func (db *DB) ReportsWaiting() int { return db.reports.queued() }

// ReportsCounted is how many nodes wait to have a turn at namespaces that others hold.
func (db *DB) ReportsCounted() int { return db.reportsCounted.queued() }

// RightsSinceSQL and KindSinceSQL are what a watch that goes on asks of the log.
const (
	RightsSinceSQL = rightsSinceSQL
	KindSinceSQL   = kindSinceSQL
)

// RenewSQL is what stores heartbeats.
const RenewSQL = renewSQL

// ReturnsWaiting is how many nodes that come back wait for their turn.
func (db *DB) ReturnsWaiting() int { return db.returns.queued() }

// QuestionsWaiting is how many credentials and wanted sets wait to be read.
func (db *DB) QuestionsWaiting() int { return db.shown.queued() + db.wanted.queued() }

// RereadPods reads pods as the feed does, and gives how many rows of the table were looked
// at without an index.
func (db *DB) RereadPods(ctx context.Context, pods []string) (out store.Batch, seqRead int, err error) {
	err = db.retry(ctx, "read changed rows", relistTimeout, true, db.implicit(service, func(b *pgx.Batch) {
		queueNamed(b, unread{}, &out, func(kind string) []string {
			if kind == kindPod {
				return pods
			}
			return nil
		})
		b.Queue("select seq_tup_read from pg_stat_xact_user_tables where relid = 'public.pods'::regclass").
			QueryRow(func(row pgx.Row) error { return row.Scan(&seqRead) })
	}))
	return out, seqRead, err
}

// RenewSeen is RenewLeases, and gives how many rows of nodes and leases were looked at
// without an index.
func (db *DB) RenewSeen(ctx context.Context, nodeIDs, sessions []string) (lost []string, seqRead int, err error) {
	var r renewal
	err = db.retry(ctx, "renew leases", relistTimeout, true, db.implicit(service, func(b *pgx.Batch) {
		r.queue(b, nodeIDs, sessions, db.serverID)
		b.Queue("select sum(seq_tup_read) from pg_stat_xact_user_tables where relid in ('public.nodes'::regclass, 'stark.node_leases'::regclass)").
			QueryRow(func(row pgx.Row) error { return row.Scan(&seqRead) })
	}))
	return r.lost, seqRead, err
}

// Refresh has the feeds of this process read.
func (db *DB) Refresh() { db.refresh() }

// JoinsWaiting is how many nodes that register for the first time wait for their turn.
func (db *DB) JoinsWaiting() int { return db.joins.queued() }

// JoinsHeld is how many of them wait to have a turn at what somebody else holds.
func (db *DB) JoinsHeld() int { return db.joinsHeld.queued() }

// Connections is how many of the pool's are in use, and how many it may have.
func (db *DB) Connections() (used, most int32) {
	s := db.pool.Stat()
	return s.AcquiredConns(), s.MaxConns()
}
