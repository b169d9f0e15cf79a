package postgrestest

import (
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// turnConn is a connection that counts how often Postgres was sent statements to run and
// then waited for. What only prepares statements is left out: a connection does that once.
type turnConn struct {
	net.Conn
	waits atomic.Bool // statements have been sent, and nothing was read since
	turns atomic.Int64
}

// counting makes what dials give connections that count.
func counting(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &turnConn{Conn: conn}, nil
	}
}

// Write begins a turn with the first statement after a read.
func (c *turnConn) Write(b []byte) (int, error) {
	if runs(b) && !c.waits.Swap(true) {
		c.turns.Add(1)
	}
	return c.Conn.Write(b)
}

// Read ends the turn when something has come.
func (c *turnConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.waits.Store(false)
	}
	return n, err
}

// runs reports whether one of the messages that pgx writes together runs a statement.
func runs(messages []byte) bool {
	const header = 5 // the kind, and how long it is without that
	for len(messages) >= header {
		if messages[0] == 'B' || messages[0] == 'Q' { // Bind, Query
			return true
		}
		size := 1 + uint64(binary.BigEndian.Uint32(messages[1:]))
		messages = messages[min(size, uint64(len(messages))):]
	}
	return false
}

func turnsOf(conn *pgx.Conn) int64 {
	if c, ok := conn.PgConn().Conn().(*turnConn); ok {
		return c.turns.Load()
	}
	return 0 // of another tracer
}
