package postgres

import (
	"context"

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
	err = db.read(ctx, "user roles", service, func(b *pgx.Batch) {
		b.Queue("select "+userColumns+" from public.users u where u.id = $1", userID).Query(all(&users, scanUser))
	})
	if err != nil || len(users) == 0 {
		return nil, false, err
	}
	return users[0].Roles, true, nil
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
	return list(ctx, db, id, listing[api.User]{
		op: "list users", columns: userColumns, from: "public.users u", order: "u.created_at desc, u.id",
		where: w, scan: scanUser, limit: limit, offset: max(q.Offset, 0),
	})
}

// SetRoles makes roles the only roles of a user. by is the granting user or "".
// The last admin keeps the role: the database refuses otherwise.
func (db *DB) SetRoles(ctx context.Context, userID string, roles []api.Role, by string) error {
	if err := checkID(userID, "user"); err != nil {
		return err
	}
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	var exists bool
	err := db.write(ctx, "set roles", service, func(b *pgx.Batch) {
		b.Queue("select exists (select from public.users where id = $1)", userID).Query(one(&exists, scanBool))
		b.Queue(`insert into public.user_roles (user_id, role, granted_by)
			select u.id, r::public.stark_role, $3 from public.users u, unnest($2::text[]) r where u.id = $1
			on conflict do nothing`, userID, names, orNull(by))
		b.Queue("delete from public.user_roles where user_id = $1 and role::text <> all ($2::text[])", userID, names)
	})
	if err == nil && !exists {
		return fault.New(fault.UserNotFound, "user not found")
	}
	return err
}

// SetupStatus tells whether there is an admin yet.
func (db *DB) SetupStatus(ctx context.Context) (api.SetupStatus, error) {
	var s api.SetupStatus
	err := db.read(ctx, "setup status", service, func(b *pgx.Batch) {
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
