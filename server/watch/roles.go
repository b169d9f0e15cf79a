package watch

import (
	"context"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// rolesWait bounds the wait for a read model that is behind the database.
const rolesWait = 2 * time.Second

// AwaitRoles waits until the read model is not behind what the database has just said
// of a user's roles. An account and its first role are written by two parties, Auth and
// a server, so that the read model shows the one before the other; whoever judged by
// that would refuse the first admin, right after the answer that says who that is.
// Where the roles have changed once more, the read model is right as soon as it covers
// this moment. It gives up silently: then the read model decides.
func (s Source) AwaitRoles(ctx context.Context, userID string, roles []api.Role) {
	same := func() bool {
		u, known := s.Store.Users.Snapshot().Get(userID)
		return known && sameRoles(u.Roles, roles)
	}
	if s.Log == nil || s.Store.Stale() || same() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, rolesWait)
	defer cancel()
	now, err := s.Log.Position(ctx)
	if err != nil {
		return
	}
	_ = s.Store.Await(ctx, func(have string) bool { return same() || s.Log.Covers(have, now) })
}

func sameRoles(a, b []api.Role) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
