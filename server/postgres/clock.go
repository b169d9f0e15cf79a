package postgres

import (
	"sync/atomic"
	"time"
)

// clock knows by how much the database's clock is ahead of this machine's, as far as the
// answers that have told the time allow to say.
type clock struct{ ahead atomic.Int64 } // nanoseconds

// heard takes in a time that the database has told in answer to a question that was sent
// and answered at these times of ours. It changes no more than it must, so that the
// length of a round trip moves nothing.
func (c *clock) heard(at, sent, answered time.Time) {
	const precision = time.Millisecond // positions are told in milliseconds, rounded down
	ahead := time.Duration(c.ahead.Load())
	earliest, latest := sent.Round(0).Add(ahead-precision), answered.Round(0).Add(ahead)
	switch {
	case at.Before(earliest):
		c.ahead.Add(int64(at.Sub(earliest)))
	case at.After(latest):
		c.ahead.Add(int64(at.Sub(latest)))
	}
}

// Time is the time by the database's clock, which all times in its tables come from,
// without asking it: this machine's, set right by what a running Feed has heard last.
func (db *DB) Time() time.Time { return time.Now().Add(time.Duration(db.clock.ahead.Load())) }
