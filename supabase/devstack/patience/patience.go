// Package patience ends what waits for a Postgres that has stopped answering, as a
// frozen one has: its connections stay open and say nothing. A call that is slow
// while Postgres is well goes on; how long that may take is for others to say.
package patience

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"
)

const (
	slow  = 1500 * time.Millisecond // a call is, after this
	reply = time.Second             // how long Postgres may be silent at each step of the answer
	whole = 5 * time.Second         // how long all of them may take
)

// ErrAway is the cause of a context that ended because Postgres does not answer.
var ErrAway = errors.New("the database does not answer")

// Guard watches over calls to one database. It is safe for concurrent use.
type Guard struct {
	config *pgx.ConnConfig
	asking singleflight.Group
}

// New makes a Guard for the database of a pool. It opens connections of its own:
// those of the pool may all be waiting.
func New(pool *pgxpool.Pool) *Guard { return &Guard{config: pool.Config().ConnConfig} }

// Watch gives a context that ends with the cause ErrAway soon after Postgres has
// stopped answering. The caller cancels it.
func (g *Guard) Watch(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(slow):
			}
			if !g.answers(ctx) {
				cancel(ErrAway)
			}
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		<-done
	}
}

// answers asks Postgres once for all calls that want to know.
func (g *Guard) answers(ctx context.Context) bool {
	// The question is not one caller's, so it ends with none of them.
	ask := g.asking.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), whole)
		defer cancel()
		config := g.config.Copy()
		config.DialFunc = impatient(config.DialFunc)
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return nil, err
		}
		err = conn.Ping(ctx)
		return nil, errors.Join(err, conn.Close(ctx))
	})
	select {
	case <-ctx.Done():
		return true // nobody waits any more
	case got := <-ask:
		// Too many connections is an answer, too.
		return !pgconn.Timeout(got.Err)
	}
}

// impatient dials connections that wait for each next word of Postgres for a moment only:
// on a busy machine it takes longer to be let in as a whole.
func impatient(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, reply)
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
	if err := c.SetReadDeadline(time.Now().Add(reply)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Away tells whether a call with this context ended because Postgres is away.
func Away(ctx context.Context) bool { return errors.Is(context.Cause(ctx), ErrAway) }
