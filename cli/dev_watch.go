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
	seen, pending := r.dev.source.stamps, false
	for {
		select {
		case <-tick.C:
		case k := <-r.keys:
			r.key(ctx, k)
			if k == keyRestart {
				seen, pending = r.dev.source.stamps, false
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		now := stamps(r.dev.source.inputs)
		switch {
		case r.paused:
		case !maps.Equal(now, seen): // perhaps a save in progress: wait for a quiet moment
			seen, pending = now, true
		case pending:
			pending = false
			if r.rebuild(ctx) {
				// As they were when they were read: what was saved since is new.
				seen = r.dev.source.stamps
			}
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
		r.dev.source = source
		return true
	}
	if err := r.next(ctx, source); err != nil && ctx.Err() == nil {
		r.dev.out.problem("pod", err)
	}
	return true
}
