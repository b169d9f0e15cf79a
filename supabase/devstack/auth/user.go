package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
)

// metadata keeps values as they were sent: numbers do not lose digits.
type metadata map[string]json.RawMessage

// merge adds the keys of with; null deletes a key.
func (m metadata) merge(with metadata) metadata {
	merged := metadata{}
	maps.Copy(merged, m)
	for key, value := range with {
		if string(value) == "null" {
			delete(merged, key)
		} else {
			merged[key] = value
		}
	}
	return merged
}

// values makes metadata of plain values, which are all known to be encodable.
func values(plain map[string]any) metadata {
	m := metadata{}
	for key, value := range plain {
		if text, err := json.Marshal(value); err == nil {
			m[key] = text
		}
	}
	return m
}

// user is a row of auth.users, in the form that clients see.
type user struct {
	ID               string     `json:"id"`
	Aud              string     `json:"aud"`
	Role             string     `json:"role"`
	Email            string     `json:"email"`
	EmailConfirmedAt *time.Time `json:"email_confirmed_at,omitempty"`
	InvitedAt        *time.Time `json:"invited_at,omitempty"`
	Phone            string     `json:"phone"`
	ConfirmedAt      *time.Time `json:"confirmed_at,omitempty"`
	LastSignInAt     *time.Time `json:"last_sign_in_at,omitempty"`
	AppMetadata      metadata   `json:"app_metadata"`
	UserMetadata     metadata   `json:"user_metadata"`
	Identities       []identity `json:"identities"`
	CreatedAt        *time.Time `json:"created_at"`
	UpdatedAt        *time.Time `json:"updated_at"`
	BannedUntil      *time.Time `json:"banned_until,omitempty"`
	DeletedAt        *time.Time `json:"deleted_at,omitempty"`
	NewEmail         string     `json:"new_email,omitempty"`
	EmailChangeAt    *time.Time `json:"email_change_sent_at,omitempty"`
	IsAnonymous      bool       `json:"is_anonymous"`

	passwordHash string
}

// identity is a row of auth.identities.
type identity struct {
	IdentityID   string     `json:"identity_id"`
	ID           string     `json:"id"`
	UserID       string     `json:"user_id"`
	IdentityData metadata   `json:"identity_data"`
	Provider     string     `json:"provider"`
	LastSignInAt *time.Time `json:"last_sign_in_at"`
	CreatedAt    *time.Time `json:"created_at"`
	UpdatedAt    *time.Time `json:"updated_at"`
	Email        *string    `json:"email,omitempty"`
}

func (u *user) banned(now time.Time) bool {
	return u.BannedUntil != nil && u.BannedUntil.After(now)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

const selectUser = `
	select id::text, coalesce(aud, ''), coalesce(role, ''), coalesce(email, ''), email_confirmed_at, invited_at,
	       coalesce(phone, ''), confirmed_at, last_sign_in_at, coalesce(raw_app_meta_data, '{}'),
	       coalesce(raw_user_meta_data, '{}'), created_at, updated_at, banned_until, deleted_at, is_anonymous,
	       coalesce(email_change, ''), email_change_sent_at, coalesce(encrypted_password, '')
	from auth.users`

func scanUser(row pgx.CollectableRow) (*user, error) {
	u := &user{}
	err := row.Scan(&u.ID, &u.Aud, &u.Role, &u.Email, &u.EmailConfirmedAt, &u.InvitedAt,
		&u.Phone, &u.ConfirmedAt, &u.LastSignInAt, &u.AppMetadata,
		&u.UserMetadata, &u.CreatedAt, &u.UpdatedAt, &u.BannedUntil, &u.DeletedAt, &u.IsAnonymous,
		&u.NewEmail, &u.EmailChangeAt, &u.passwordHash)
	for _, at := range []*time.Time{
		u.EmailConfirmedAt, u.InvitedAt, u.ConfirmedAt, u.LastSignInAt, u.CreatedAt, u.UpdatedAt, u.BannedUntil, u.DeletedAt,
		u.EmailChangeAt,
	} {
		if at != nil {
			*at = at.UTC()
		}
	}
	return u, err
}

// findUser looks a user up by id or email (in lower case), identities included. Nobody found is nil.
func findUser(ctx context.Context, q querier, column, value string) (*user, error) {
	where := map[string]string{"id": " where id = $1", "email": " where email = $1 and not is_sso_user"}[column]
	rows, err := q.Query(ctx, selectUser+where, value)
	if err != nil {
		return nil, fmt.Errorf("find user: %w", err)
	}
	found, err := pgx.CollectExactlyOneRow(rows, scanUser)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find user: %w", err)
	}
	return found, found.loadIdentities(ctx, q)
}

// mustFindUser reads a user that the same transaction has just written.
func mustFindUser(ctx context.Context, q querier, id string) (*user, error) {
	found, err := findUser(ctx, q, "id", id)
	if err == nil && found == nil {
		err = fmt.Errorf("find user: %w", pgx.ErrNoRows)
	}
	return found, err
}

func (u *user) loadIdentities(ctx context.Context, q querier) error {
	rows, err := q.Query(ctx, `
		select id::text, provider_id, user_id::text, identity_data, provider, last_sign_in_at, created_at, updated_at, email
		from auth.identities where user_id = $1 order by created_at, id`, u.ID)
	if err != nil {
		return fmt.Errorf("find identities: %w", err)
	}
	u.Identities, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (identity, error) {
		var i identity
		err := row.Scan(&i.IdentityID, &i.ID, &i.UserID, &i.IdentityData, &i.Provider,
			&i.LastSignInAt, &i.CreatedAt, &i.UpdatedAt, &i.Email)
		return i, err
	})
	if err != nil {
		return fmt.Errorf("find identities: %w", err)
	}
	return nil
}

// newUser is what an insert needs.
type newUser struct {
	id, role, email, hash string
	confirmed, anonymous  bool
	app, data             metadata
	bannedUntil           *time.Time
}

// insertUser adds the user, and the identity that goes with an e-mail address.
func insertUser(ctx context.Context, tx pgx.Tx, n newUser) (*user, error) {
	_, err := tx.Exec(ctx, `
		insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at,
		  raw_app_meta_data, raw_user_meta_data, is_anonymous, banned_until, created_at, updated_at,
		  confirmation_token, recovery_token, email_change_token_new, email_change)
		values ('00000000-0000-0000-0000-000000000000', $1, 'authenticated', $2, nullif($3, ''), $4,
		  case when $5 then now() end, $6, $7, $8, $9, now(), now(), '', '', '', '')`,
		n.id, n.role, n.email, n.hash, n.confirmed, n.app, n.data, n.anonymous, n.bannedUntil)
	if err != nil {
		return nil, fmt.Errorf("insert user: %w", err)
	}
	if n.email != "" {
		data := n.data.merge(values(map[string]any{
			"sub": n.id, "email": n.email, "email_verified": n.confirmed, "phone_verified": false,
		}))
		_, err := tx.Exec(ctx, `
			insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
			values ($1::uuid::text, $1::uuid, $2, 'email', now(), now(), now())`, n.id, data)
		if err != nil {
			return nil, fmt.Errorf("insert identity: %w", err)
		}
	}
	return mustFindUser(ctx, tx, n.id)
}

// change is what an update of a user may set; nil leaves a column as it is.
type change struct {
	email, hash, role *string
	wishedEmail       *string // to be confirmed
	confirm           bool
	app, data         metadata // merged already
	bannedUntil       *time.Time
	unban             bool
}

// apply writes the change and reads the user again.
func (c change) apply(ctx context.Context, tx pgx.Tx, id string) (*user, error) {
	_, err := tx.Exec(ctx, `
		update auth.users set
		  email = coalesce($2, email),
		  email_change = case when $2 is not null then '' else coalesce($10, email_change) end,
		  email_change_sent_at = case when $2 is not null then null when $10 is not null then now() else email_change_sent_at end,
		  encrypted_password = coalesce($3, encrypted_password),
		  role = coalesce($4, role),
		  email_confirmed_at = case when $5 then coalesce(email_confirmed_at, now()) else email_confirmed_at end,
		  raw_app_meta_data = coalesce($6, raw_app_meta_data),
		  raw_user_meta_data = coalesce($7, raw_user_meta_data),
		  banned_until = case when $8 then null else coalesce($9, banned_until) end,
		  is_anonymous = is_anonymous and $2 is null,
		  updated_at = now()
		where id = $1`,
		id, c.email, c.hash, c.role, c.confirm, c.app, c.data, c.unban, c.bannedUntil, c.wishedEmail)
	if err != nil {
		return nil, fmt.Errorf("update user: %w", err)
	}
	if c.email != nil {
		data := values(map[string]any{"sub": id, "email": *c.email, "email_verified": c.confirm, "phone_verified": false})
		_, err := tx.Exec(ctx, `
			insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
			values ($1::uuid::text, $1::uuid, $2, 'email', now(), now(), now())
			on conflict (provider_id, provider) do update
			  set identity_data = auth.identities.identity_data || excluded.identity_data, updated_at = now()`, id, data)
		if err != nil {
			return nil, fmt.Errorf("update identity: %w", err)
		}
	}
	return mustFindUser(ctx, tx, id)
}
