package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Profile gives the caller's own profile, with the roles that the table has now.
func (db *DB) Profile(ctx context.Context, id access.Identity) (api.User, error) {
	var u api.User
	if err := checkID(id.UserID, "user"); err != nil {
		return u, err
	}
	err := db.readAs(ctx, "profile", id, func(b *pgx.Batch) {
		b.Queue("select "+userColumns+" from public.users u where u.id = $1", id.UserID).Query(one(&u, scanUser))
	})
	if fault.CodeOf(err) == fault.NotFound {
		return u, fault.Wrap(err, fault.UserNotFound, "user not found")
	}
	return u, err
}

// UserRoles gives a user's roles; found is false where there is no profile.
func (db *DB) UserRoles(ctx context.Context, userID string) (roles []api.Role, found bool, err error) {
	if !api.ValidID(userID) {
		return nil, false, nil
	}
	var users []api.User
	err = db.readFor(ctx, "user roles", func(b *pgx.Batch) {
		b.Queue("select "+userColumns+" from public.users u where u.id = $1", userID).Query(all(&users, scanUser))
	})
	if err != nil || len(users) == 0 {
		return nil, false, err
	}
	if users[0].DisabledAt != nil {
		return nil, true, access.AccountDisabled()
	}
	return users[0].Roles, true, nil
}

// GetUser gives one user, if the caller may see them.
func (db *DB) GetUser(ctx context.Context, id access.Identity, userID string) (api.User, error) {
	var u api.User
	if err := checkID(userID, "user"); err != nil {
		return u, err
	}
	err := db.readAs(ctx, "get user", id, func(b *pgx.Batch) { queueUser(b, userID, &u) })
	return u, notFound(err, "user")
}

func queueUser(b *pgx.Batch, userID string, u *api.User) {
	b.Queue("select "+userColumns+" from public.users u where u.id = $1", userID).Query(one(u, scanUser))
}

// GrantRoles adds roles to a user's, as the caller, and gives the user as they are
// then. Roles that the user has already are no fault.
func (db *DB) GrantRoles(ctx context.Context, id access.Identity, userID string, roles []api.Role) (api.User, error) {
	var u api.User
	if err := checkID(userID, "user"); err != nil {
		return u, err
	}
	err := db.changeAs(ctx, "grant roles", id, kindUser, userID, func(b *pgx.Batch) {
		b.Queue(`insert into public.user_roles (user_id, role)
			select u.id, r::public.stark_role from public.users u, unnest($2::text[]) r where u.id = $1
			on conflict do nothing`, userID, roleNames(roles))
		queueUser(b, userID, &u)
	})
	return u, notFound(err, "user")
}

// RevokeRole takes a role from a user, as the caller. The last admin keeps the
// role: the database refuses otherwise.
func (db *DB) RevokeRole(ctx context.Context, id access.Identity, userID string, role api.Role) (api.User, error) {
	var u api.User
	if err := checkID(userID, "user"); err != nil {
		return u, err
	}
	err := db.changeAs(ctx, "revoke role", id, kindUser, userID, func(b *pgx.Batch) {
		b.Queue("delete from public.user_roles where user_id = $1 and role::text = $2", userID, string(role))
		queueUser(b, userID, &u)
	})
	return u, notFound(err, "user")
}

// SetDisabled takes all roles from a user, or gives them back. by must be an
// admin; the database checks that too, and keeps the last admin enabled.
func (db *DB) SetDisabled(ctx context.Context, userID string, disabled bool, by string) (api.User, error) {
	var u api.User
	if err := checkID(userID, "user"); err != nil {
		return u, err
	}
	op, sql := "enable user", "select stark.enable_user($1, $2)"
	if disabled {
		op, sql = "disable user", "select stark.disable_user($1, $2)"
	}
	err := db.write(ctx, op, service, func(b *pgx.Batch) {
		b.Queue(sql, userID, by)
		queueUser(b, userID, &u)
	})
	return u, notFound(err, "user")
}

// OpenRegistration tells whether people may make accounts for themselves.
func (db *DB) OpenRegistration(ctx context.Context) (open bool, err error) {
	err = db.readFor(ctx, "registration", func(b *pgx.Batch) {
		b.Queue("select open_registration from public.cluster_config").Query(one(&open, scanBool))
	})
	return open, err
}

// SetOpenRegistration lets people make accounts for themselves, or stops it, and
// says whether that is a change.
func (db *DB) SetOpenRegistration(ctx context.Context, open bool) (changed bool, err error) {
	err = db.write(ctx, "set registration", service, func(b *pgx.Batch) {
		b.Queue(`with c as (update public.cluster_config set open_registration = $1 where open_registration <> $1 returning 1)
			select exists (select from c)`, open).Query(one(&changed, scanBool))
	})
	return changed, err
}

// SetHeartbeatInterval says how often agents are to show that they live, and says
// whether that is a change. It must be shorter than the heartbeat timeout.
func (db *DB) SetHeartbeatInterval(ctx context.Context, every time.Duration) (changed bool, err error) {
	err = db.write(ctx, "set heartbeat interval", service, func(b *pgx.Batch) {
		b.Queue(`with c as (update public.cluster_config set heartbeat_interval_ms = $1 where heartbeat_interval_ms <> $1 returning 1)
			select exists (select from c)`, every.Milliseconds()).Query(one(&changed, scanBool))
	})
	if fault.CodeOf(err) == fault.Validation {
		err = fault.Wrap(err, fault.Validation, "the heartbeat interval %s is not shorter than heartbeatTimeoutMs of the cluster: raise that first", every)
	}
	return changed, err
}

func roleNames(roles []api.Role) []string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return names
}

// ListUsers gives the users that the caller may see, newest first, and how many
// there are. Limit is clamped to 1000.
func (db *DB) ListUsers(ctx context.Context, id access.Identity, q api.UserQuery) ([]api.User, int, error) {
	const most = 1000
	limit := q.Limit
	if limit <= 0 || limit > most {
		limit = most
	}
	w := where{}
	if q.Role != "" {
		w.and("exists (select from public.user_roles r where r.user_id = u.id and r.role::text = @role)", "role", string(q.Role))
	}
	if q.Search != "" {
		w.and("(u.email ilike @search or u.display_name ilike @search)", "search", likePattern(q.Search))
	}
	page, err := list(ctx, db, id, listing[api.User]{
		op: "list users", columns: userColumns, from: "public.users u", order: "u.created_at desc, u.id",
		where: w, scan: scanUser, limit: limit, offset: max(q.Offset, 0),
	})
	return page.Items, page.Total, err
}

// SetRoles makes roles the only roles of a user, as the caller, who must be an admin at
// this moment. The last admin keeps the role: the database refuses otherwise.
func (db *DB) SetRoles(ctx context.Context, by access.Identity, userID string, roles []api.Role) error {
	if err := checkID(userID, "user"); err != nil {
		return err
	}
	names := roleNames(roles)
	var admin, exists bool
	err := db.writeAs(ctx, "set roles", by, func(b *pgx.Batch) {
		b.Queue("select stark.has_role('{admin}')").Query(one(&admin, scanBool))
		b.Queue("select exists (select from public.users where id = $1)", userID).Query(one(&exists, scanBool))
		b.Queue(`insert into public.user_roles (user_id, role)
			select u.id, r::public.stark_role from public.users u, unnest($2::text[]) r where u.id = $1
			on conflict do nothing`, userID, names)
		b.Queue("delete from public.user_roles where user_id = $1 and role::text <> all ($2::text[])", userID, names)
	})
	switch {
	case err != nil:
		return err
	case !admin:
		return fault.New(fault.Forbidden, "only an admin may give roles")
	case !exists:
		return fault.New(fault.UserNotFound, "user not found")
	}
	return nil
}

// SetupStatus tells whether there is an admin yet.
func (db *DB) SetupStatus(ctx context.Context) (api.SetupStatus, error) {
	var s api.SetupStatus
	err := db.readFor(ctx, "setup status", func(b *pgx.Batch) {
		b.Queue(`select not exists (select from public.user_roles where role = 'admin'), (select count(*) from public.users)`).
			Query(one(&s, func(row pgx.CollectableRow) (api.SetupStatus, error) {
				var s api.SetupStatus
				err := row.Scan(&s.NeedsSetup, &s.UserCount)
				return s, err
			}))
	})
	return s, err
}

// ClaimFirstAdmin makes the user an admin if there is none, exactly once however
// many ask at the same time.
func (db *DB) ClaimFirstAdmin(ctx context.Context, userID string) (bool, error) {
	if err := checkID(userID, "user"); err != nil {
		return false, err
	}
	var claimed bool
	err := db.write(ctx, "claim first admin", service, func(b *pgx.Batch) {
		b.Queue("select stark.claim_first_admin($1)", userID).Query(one(&claimed, scanBool))
	})
	return claimed, err
}
