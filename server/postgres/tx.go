package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// The roles of the two doors.
const (
	roleService       = "service_role"
	roleAuthenticated = "authenticated"
)

// settingsSQL opens every transaction. Its settings end with the transaction. The
// subject is there twice: auth.uid() looks for it by itself first, and need not read
// the whole of the claims as JSON, which it would do for each row that a user stores.
const settingsSQL = `select set_config('role', $1, true), set_config('request.jwt.claims', $2, true),
	set_config('request.jwt.claim.sub', $3, true), set_config('stark.quiet', 'on', true)`

// pooledSettingsSQL also sets the limits, which a transaction pooler does not
// take when a connection starts. The figures are those of pool.go.
const pooledSettingsSQL = settingsSQL + `,
	set_config('statement_timeout', '15000', true), set_config('lock_timeout', '5000', true),
	set_config('idle_in_transaction_session_timeout', '10000', true)`

// door is as whom a transaction runs.
type door struct {
	role    string
	claims  string
	subject string // of the claims; "" for the service
}

// settings are the arguments of settingsSQL.
func (d door) settings() []any { return []any{d.role, d.claims, d.subject} }

var service = door{role: roleService, claims: `{"role":"service_role"}`}

// userDoor is the door of a signed-in user; nobody in particular may not enter: the
// API has no data for people who have not signed in.
func userDoor(id access.Identity) (door, error) {
	switch {
	case id.NodeID != "":
		return door{}, fault.New(fault.Forbidden, "a node has no access to this")
	case id.Anonymous || id.UserID == "":
		return door{}, fault.New(fault.AuthenticationRequired, "sign in first")
	case len(id.Claims) > 0:
		return door{role: roleAuthenticated, claims: string(id.Claims), subject: id.UserID}, nil
	}
	claims, err := json.Marshal(map[string]string{"sub": id.UserID, "email": id.Email, "role": roleAuthenticated})
	if err != nil {
		return door{}, fault.Wrap(err, fault.Internal, "claims could not be encoded")
	}
	return door{role: roleAuthenticated, claims: string(claims), subject: id.UserID}, nil
}

// Tx is a transaction that queues: what is queued leaves with the next statement
// that is waited for, or with the commit. It must not be used after fn returns.
type Tx interface {
	// Queue sends a statement later; its failure is the failure of the transaction.
	Queue(sql string, args ...any) *pgx.QueuedQuery
	// Exec sends what is queued and a statement, and gives the number of its rows.
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	// Query sends what is queued and a statement, and hands its rows to scan.
	Query(ctx context.Context, scan func(pgx.Rows) error, sql string, args ...any) error
}

// AsUser runs fn in a transaction as the user, under row level security. The
// transaction commits when fn returns nil. fn may run again after a conflict
// with another transaction, so it must do nothing else.
func (db *DB) AsUser(ctx context.Context, id access.Identity, fn func(Tx) error) error {
	d, err := userDoor(id)
	if err != nil {
		return err
	}
	return db.transaction(ctx, "transaction", d, fn)
}

// AsService runs fn in a transaction as service_role; else as AsUser.
func (db *DB) AsService(ctx context.Context, fn func(Tx) error) error {
	return db.transaction(ctx, "transaction", service, fn)
}

// errNothingToDo ends a transaction that has looked and found nothing to change: it is
// rolled back, which waits for no disk, and nobody is told of it.
var errNothingToDo = errors.New("nothing to do")

func (db *DB) transaction(ctx context.Context, op string, d door, fn func(Tx) error) error {
	changed := true
	err := db.retry(ctx, op, db.patience(d, callTimeout), false, func(ctx context.Context, conn *pgx.Conn) error {
		t := &tx{conn: conn, batch: &pgx.Batch{}}
		t.Queue("begin")
		t.Queue(db.settings(), d.settings()...)
		err := fn(t)
		changed = !errors.Is(err, errNothingToDo)
		switch {
		case !changed:
			t.Queue("rollback")
			err = t.flush(ctx)
		case err == nil:
			t.Queue("commit")
			err = t.flush(ctx)
		}
		if err != nil {
			t.rollback(ctx)
		}
		return err
	})
	if err == nil && changed {
		db.committed()
	}
	return err
}

type tx struct {
	conn  *pgx.Conn
	batch *pgx.Batch
}

func (t *tx) Queue(sql string, args ...any) *pgx.QueuedQuery { return t.batch.Queue(sql, args...) }

func (t *tx) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	var n int64
	t.Queue(sql, args...).Exec(func(tag pgconn.CommandTag) error {
		n = tag.RowsAffected()
		return nil
	})
	return n, t.flush(ctx)
}

func (t *tx) Query(ctx context.Context, scan func(pgx.Rows) error, sql string, args ...any) error {
	t.Queue(sql, args...).Query(scan)
	return t.flush(ctx)
}

func (t *tx) flush(ctx context.Context) error {
	b := t.batch
	t.batch = &pgx.Batch{}
	return t.conn.SendBatch(ctx, b).Close()
}

// rollback uses a context of its own: the caller's may have ended, and the
// connection should go back to the pool all the same.
func (t *tx) rollback(ctx context.Context) {
	if t.conn.IsClosed() || t.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = t.conn.Exec(ctx, "rollback") // a connection that cannot roll back is dropped by the pool
}

// read runs the statements that build queues as one implicit transaction, in one
// round trip. build runs again when a connection broke.
func (db *DB) read(ctx context.Context, op string, d door, build func(*pgx.Batch)) error {
	return db.retry(ctx, op, db.patience(d, readTimeout), true, db.implicit(d, build))
}

// readFor is read as the service on behalf of a user who waits for the answer.
func (db *DB) readFor(ctx context.Context, op string, build func(*pgx.Batch)) error {
	limit := db.patience(door{role: roleAuthenticated}, readTimeout)
	return db.retry(ctx, op, limit, true, db.implicit(service, build))
}

// write is read for statements that change something: it repeats only what
// surely did not happen, and tells the feed.
func (db *DB) write(ctx context.Context, op string, d door, build func(*pgx.Batch)) error {
	err := db.retry(ctx, op, db.patience(d, callTimeout), false, db.implicit(d, build))
	if err == nil {
		db.committed()
	}
	return err
}

// writeOwn is write for a batch that depends on the connection. What the outcome says of
// this process' own writes is noted before any feed is told to read them.
func (db *DB) writeOwn(ctx context.Context, op string, d door, build func(*pgx.Batch, *pgx.Conn), note func()) error {
	db.own.begin()
	defer db.own.end()
	err := db.retry(ctx, op, db.patience(d, callTimeout), false, db.implicitOn(d, build))
	if err == nil {
		note()
		db.committed()
	}
	return err
}

func (db *DB) readAs(ctx context.Context, op string, id access.Identity, build func(*pgx.Batch)) error {
	d, err := userDoor(id)
	if err != nil {
		return err
	}
	return db.read(ctx, op, d, build)
}

func (db *DB) writeAs(ctx context.Context, op string, id access.Identity, build func(*pgx.Batch)) error {
	d, err := userDoor(id)
	if err != nil {
		return err
	}
	return db.write(ctx, op, d, build)
}

// implicit makes one pipeline with one sync of settings and statements: Postgres
// runs that as one transaction and commits it at the end.
func (db *DB) implicit(d door, build func(*pgx.Batch)) func(context.Context, *pgx.Conn) error {
	return db.implicitOn(d, func(b *pgx.Batch, _ *pgx.Conn) { build(b) })
}

func (db *DB) implicitOn(d door, build func(*pgx.Batch, *pgx.Conn)) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		b := &pgx.Batch{}
		b.Queue(db.settings(), d.settings()...)
		build(b, conn)
		return conn.SendBatch(ctx, b).Close()
	}
}

const maxAttempts = 4

// retry runs fn on a connection of the pool and turns its failure into a fault.
// It repeats what is safe to repeat: anything before it reached the server,
// anything that Postgres rolled back for a conflict, and reads always.
//
// limit bounds it all, so that a database that has stopped without closing its
// connections is found out long before the caller's own patience ends.
func (db *DB) retry(ctx context.Context, op string, limit time.Duration, readOnly bool, fn func(context.Context, *pgx.Conn) error) error {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, done := db.watched(ctx)
	defer done()
	err := db.attempts(ctx, op, readOnly, fn)
	if err != nil && ctx.Err() != nil && caller.Err() == nil {
		return unavailable(err) // the caller would have waited longer
	}
	return err
}

// patience is the limit of a call: what users wait for ends soon once the feed
// has lost the database.
func (db *DB) patience(d door, limit time.Duration) time.Duration {
	switch {
	case d.role != roleAuthenticated:
		return limit
	case db.away.Load() || db.suspected():
		return awayTimeout
	default:
		return min(limit, writeTimeout)
	}
}

func (db *DB) attempts(ctx context.Context, op string, readOnly bool, fn func(context.Context, *pgx.Conn) error) error {
	for attempt := 1; ; attempt++ {
		err := db.once(ctx, fn)
		if err == nil {
			return nil
		}
		if attempt == maxAttempts || ctx.Err() != nil || !repeatable(err, readOnly) {
			return toFault(op, err)
		}
		pause := time.Duration(attempt) * time.Duration(5+rand.IntN(15)) * time.Millisecond
		select {
		case <-ctx.Done():
			return toFault(op, err)
		case <-time.After(pause):
		}
	}
}

func (db *DB) once(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	conn, err := db.pool.Acquire(ctx)
	if db.metPooler(err) {
		conn, err = db.pool.Acquire(ctx)
	}
	if err != nil {
		return err
	}
	defer conn.Release()
	return fn(ctx, conn.Conn())
}

// repeatable reports whether doing it again cannot do it twice.
func repeatable(err error, readOnly bool) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "40001", "40P01": // serialization failure, deadlock: rolled back
			return true
		case "0A000": // a cached plan no longer fits the tables; the cache has been cleared
			return true
		}
		return readOnly && gone(e.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false // the pool has just tried; the caller gets a quick answer
	}
	return pgconn.SafeToRetry(err) || readOnly && connectionLost(err)
}

// all collects rows into dst.
func all[T any](dst *[]T, scan pgx.RowToFunc[T]) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		got, err := pgx.CollectRows(rows, scan)
		*dst = got
		return err
	}
}

// one takes the single row into dst; none is pgx.ErrNoRows.
func one[T any](dst *T, scan pgx.RowToFunc[T]) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		got, err := pgx.CollectExactlyOneRow(rows, scan)
		*dst = got
		return err
	}
}
