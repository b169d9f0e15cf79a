package postgres

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	slowAfter    = 1500 * time.Millisecond // a call that takes longer makes us ask whether Postgres is there
	probeTimeout = time.Second             // of silence, at each step of letting us in
	suspectFor   = 3 * time.Second         // how long one answer of "no" holds for other calls
)

var errNotAlive = errors.New("postgres does not answer new connections either")

// watched is ctx, which ends early when the call is slow and Postgres turns out to
// be away: a machine that has stopped closes no connection, and waiting for it
// tells nobody anything. A call that waits for its turn or for a lock goes on.
func (db *DB) watched(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(slowAfter, func() {
		if ctx.Err() == nil && !db.alive(ctx) {
			db.suspect.Store(time.Now().Add(suspectFor).UnixNano())
			cancel(errNotAlive)
		}
	})
	return ctx, func() {
		timer.Stop()
		cancel(nil)
	}
}

// suspected reports whether Postgres was found away a moment ago.
func (db *DB) suspected() bool { return time.Now().UnixNano() < db.suspect.Load() }

// alive asks on a connection of its own, for the pool may be waiting itself; all
// who ask at the same time share one. Any answer counts, a refusal too. What takes long
// where this machine or that of Postgres is busy, such as proving the password, is not
// silence: to take it for that would end the calls of a server that has much to do.
func (db *DB) alive(ctx context.Context) bool {
	answer := db.probes.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		config := db.pool.Config().ConnConfig
		config.DialFunc = impatient(config.DialFunc)
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			_, refused := errors.AsType[*pgconn.PgError](err)
			return refused, nil
		}
		return true, conn.Close(ctx)
	})
	select {
	case <-ctx.Done():
		return true // nobody waits any more
	case r := <-answer:
		yes, _ := r.Val.(bool)
		return yes
	}
}

// impatient dials connections that wait for each next word of Postgres for a moment only.
func impatient(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return impatientConn{conn}, nil
	}
}

type impatientConn struct{ net.Conn }

// Read fails when nothing comes in time.
func (c impatientConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(probeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}
