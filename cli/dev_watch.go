package cli

import (
	"context"
	"maps"
	"time"
)

// watch rolls the pack out on every save until ctx ends. What cannot be built or
// does not start is told, and the version before goes on.
func (r *rollout) watch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen := stamps(r.dev.source.inputs)
	built, settled := seen, true
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		now := stamps(r.dev.source.inputs)
		if !maps.Equal(now, seen) { // a save in progress: wait for a quiet moment
			seen, settled = now, false
			continue
		}
		if settled {
			continue
		}
		settled = true
		if maps.Equal(seen, built) {
			continue
		}
		built = seen
		if r.rebuild(ctx) {
			seen = stamps(r.dev.source.inputs)
			built = seen
		}
	}
}

// rebuild reports whether there is a new source, perhaps with other inputs.
func (r *rollout) rebuild(ctx context.Context) bool {
	source, err := loadSource(r.dev.flags.folder)
	if err != nil {
		r.dev.out.problem("pack", err)
		return false
	}
	if source.SHA256 == r.dev.source.SHA256 && source.Version == r.dev.source.Version {
		r.dev.source.inputs = source.inputs
		return true
	}
	if err := r.next(ctx, source); err != nil && ctx.Err() == nil {
		r.dev.out.problem("pod", err)
	}
	return true
}
