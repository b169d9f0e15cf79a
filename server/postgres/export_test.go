package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/core/access"
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

// RenewSQL is what stores heartbeats.
const RenewSQL = renewSQL

// ReturnsWaiting is how many nodes that come back wait for their turn.
func (db *DB) ReturnsWaiting() int { return db.returns.queued() }

// QuestionsWaiting is how many credentials and wanted sets wait to be read.
func (db *DB) QuestionsWaiting() int { return db.shown.queued() + db.wanted.queued() }
