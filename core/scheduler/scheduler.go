package scheduler

import "context"

// Binder makes decisions true. It re-checks each pod's status and incarnation and
// gives back those decisions that came too late; verdicts are stored, and replaced
// by later ones. It must not keep ds.
type Binder interface {
	Bind(ctx context.Context, ds []Decision) (stale []Decision, err error)
}
