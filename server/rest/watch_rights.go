package rest

import (
	"context"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// rights are what decides who sees what, as the read model has them.
type rights struct {
	roles      []api.Role
	known      bool // the read model has heard of the user
	namespaces []string
}

func (s *server) rightsOf(userID string) rights {
	u, known := s.Store.Users.Snapshot().Get(userID)
	return rights{roles: u.Roles, known: known, namespaces: s.namespacesOf(userID)}
}

// differ reports whether the roles of now are others. The read model may have been
// behind the request that began the watch, so that the roles found there are the same.
func (r rights) differ(now []api.Role, known bool, requested []api.Role) bool {
	switch {
	case !known:
		return r.known // the account is gone
	case sameRoles(now, requested):
		return false
	default:
		return !r.known || !sameRoles(now, r.roles)
	}
}

func (s *server) namespacesOf(userID string) []string {
	var list []string
	for _, m := range s.Store.Members.Snapshot().All() {
		if m.UserID == userID {
			list = append(list, m.Namespace)
		}
	}
	slices.Sort(list)
	return list
}

// reviewWatch ends a watch when its session is over, and when its user is given or
// loses a role or a membership: other objects are theirs to see then, of which no event
// tells. It returns with ctx.
func (s *server) reviewWatch(ctx context.Context, end context.CancelCauseFunc, who caller, before rights) {
	users, members := s.Store.Users.Notify(ctx), s.Store.Members.Notify(ctx)
	ticker := time.NewTicker(reviewEvery)
	defer ticker.Stop()
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case <-users:
			u, known := s.Store.Users.Snapshot().Get(who.UserID)
			changed = before.differ(u.Roles, known, who.Roles)
		case <-members:
			changed = !slices.Equal(s.namespacesOf(who.UserID), before.namespaces)
		case <-ticker.C:
			if err := s.sessionOver(ctx, who); err != nil {
				end(err)
				return
			}
		}
		if changed {
			end(fault.New(fault.Gone, "your roles or memberships have changed: list again, and watch from the new cursor"))
			return
		}
	}
}

// sessionOver says that a session has ended, where that is known for certain.
func (s *server) sessionOver(ctx context.Context, who caller) error {
	call, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	err := s.Verifier.Alive(call, who.Identity)
	switch fault.CodeOf(err) {
	case fault.TokenInvalid, fault.Forbidden:
		return err
	default:
		return nil
	}
}

func sameRoles(a, b []api.Role) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
