package patience

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
)

// slowly lets one client in, with a pause before each of its answers. A negative pause
// is a Postgres that takes connections and says nothing.
func slowly(t *testing.T, pause time.Duration) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		var served sync.WaitGroup
		t.Cleanup(func() { _ = far.Close(); served.Wait() })
		served.Go(func() {
			b := pgproto3.NewBackend(far, far)
			if _, err := b.ReceiveStartupMessage(); err != nil || pause < 0 {
				return
			}
			time.Sleep(pause)
			b.Send(&pgproto3.AuthenticationCleartextPassword{})
			if b.Flush() != nil || b.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
				return
			}
			if _, err := b.Receive(); err != nil {
				return
			}
			time.Sleep(pause)
			b.Send(&pgproto3.AuthenticationOk{})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			_ = b.Flush() // who has gone needs no answer
			for {
				m, err := b.Receive()
				if _, asked := m.(*pgproto3.Query); err != nil || !asked {
					break
				}
				time.Sleep(pause)
				b.Send(&pgproto3.EmptyQueryResponse{})
				b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
				_ = b.Flush()
			}
			_ = far.Close()
		})
		return near, nil
	}
}

// A Postgres that answers is there, however long it and a busy machine take to let
// somebody in: only its silence tells that it is away.
func TestOnlySilenceMeansAway(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		pause time.Duration
		alive bool
	}{
		"at once":                    {0, true},
		"slow at each step":          {reply * 9 / 10, true},
		"silent":                     {-1, false},
		"silent for longer than may": {reply * 11 / 10, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, err := pgxpool.ParseConfig("postgres://u:p@127.0.0.1/d?sslmode=disable")
				if err != nil {
					t.Fatal(err)
				}
				c.ConnConfig.DialFunc = slowly(t, tc.pause)
				pool, err := pgxpool.NewWithConfig(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				defer pool.Close()
				if got := New(pool).answers(t.Context()); got != tc.alive {
					t.Errorf("alive is %v, want %v", got, tc.alive)
				}
			})
		})
	}
}
