package postgres

import (
	"context"
	"time"
)

// SinceForTest makes a leader's term older than it is, as it is after a while.
func SinceForTest(since time.Time) func(context.Context) context.Context {
	return func(ctx context.Context) context.Context {
		t := termOf(ctx)
		t.since = since
		return context.WithValue(ctx, termKey{}, t)
	}
}
