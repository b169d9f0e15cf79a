package rest

import (
	"context"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	cachedUsers = 4096
	rolesMaxAge = 2 * time.Second
)

// roleCache asks the database for a user's roles, and spares it the same
// question for a moment. An answer is used again only while the read model
// follows the database and shows the user as it did when the answer came, so that
// a role that is taken away is gone with the next change-feed message.
type roleCache struct {
	db    UserDatabase
	model *store.Store
	cache *lru.Cache[string, roleEntry]
}

type roleEntry struct {
	roles   []api.Role
	seen    api.User // as the read model had it
	fetched time.Time
}

func newRoleCache(db UserDatabase, model *store.Store) *roleCache {
	cache, err := lru.New[string, roleEntry](cachedUsers)
	if err != nil {
		return &roleCache{db: db, model: model} // only for a size below one
	}
	return &roleCache{db: db, model: model, cache: cache}
}

// of gives the roles of a user; false when there is no such user. While the
// database is away, the read model answers.
func (r *roleCache) of(ctx context.Context, userID string) ([]api.Role, bool, error) {
	seen, inModel := r.inModel(userID)
	if inModel && seen.DisabledAt != nil && r.model.Stale() {
		return nil, true, access.AccountDisabled()
	}
	if e, hit := r.cache.Get(userID); hit && inModel && r.current(e, seen) {
		return e.roles, true, nil
	}
	if inModel && r.model.Stale() { // the database is away, and would keep every request waiting
		return seen.Roles, true, nil
	}
	roles, found, err := r.db.UserRoles(ctx, userID)
	if err != nil {
		if fault.CodeOf(err) == fault.Unavailable && inModel && seen.DisabledAt == nil {
			return seen.Roles, true, nil
		}
		return nil, false, err
	}
	if found && inModel {
		r.cache.Add(userID, roleEntry{roles: roles, seen: seen, fetched: time.Now()})
	}
	return roles, found, nil
}

// forget makes the next question about a user go to the database: the change that
// this server has just made is true here before the read model shows it.
func (r *roleCache) forget(userID string) { r.cache.Remove(userID) }

func (r *roleCache) current(e roleEntry, seen api.User) bool {
	return !r.model.Stale() && time.Since(e.fetched) < rolesMaxAge &&
		e.seen.UpdatedAt.Equal(seen.UpdatedAt) && slices.Equal(e.seen.Roles, seen.Roles)
}

func (r *roleCache) inModel(userID string) (api.User, bool) {
	if r.model == nil {
		return api.User{}, false
	}
	return r.model.Users.Snapshot().Get(userID)
}
