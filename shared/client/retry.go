package client

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	maxAttempts  = 4
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// worthAnother reports whether nobody has decided about a request yet. Who asks too
// often is not helped by asking again.
func worthAnother(err error) bool {
	switch fault.CodeOf(err) {
	case fault.Unavailable, fault.Timeout, fault.InProgress:
		return true
	default:
		return false
	}
}

// pauseBefore is how long to wait after an attempt: what the server says, else three
// times longer each time, a third of it at random.
func pauseBefore(attempt int, err error) time.Duration {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.RetryAfter > 0 {
		return min(e.RetryAfter, longestPause)
	}
	pause := firstPause
	for range attempt - 1 {
		pause *= 3
	}
	return pause*2/3 + rand.N(pause/3)
}
