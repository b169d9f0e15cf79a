package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Join tokens lie in schema stark, out of the reach of row level security, so
// the rights are checked here and each statement is bound to the caller's own
// rows unless the caller is staff. What the caller was a moment ago counts for
// nothing: the statements ask for the roles again.

const (
	registersSQL = `exists (select from public.user_roles r where r.user_id = @by::uuid and r.role in ('admin', 'operator', 'developer'))`
	reachesSQL   = `(j.created_by = @by::uuid or @all::boolean and exists (
		select from public.user_roles r where r.user_id = @by::uuid and r.role in ('admin', 'operator')))`
)

const tokenColumns = `j.id::text, case when j.revoked_at is not null then 'revoked' when j.uses <= 0 then 'used'
	when j.expires_at <= now() then 'expired' else 'active' end,
	j.uses, j.labels, j.taints, j.created_by::text, j.created_at, j.expires_at, j.revoked_at, ` + tokenVersion

func scanToken(row pgx.CollectableRow) (api.JoinToken, error) {
	var j api.JoinToken
	err := row.Scan(&j.ID, &j.State, &j.Uses, &j.Labels, &j.Taints, &j.CreatedBy, &j.CreatedAt, &j.ExpiresAt, &j.RevokedAt, &j.ResourceVersion)
	return j, err
}

const (
	defaultTokenTTL  = time.Hour
	defaultTokenUses = 1
)

// mayToken checks a right on join tokens; all says that it covers everybody's.
func mayToken(id access.Identity, a access.Action) (all bool, err error) {
	if id.NodeID != "" || !api.ValidID(id.UserID) || !id.Can(a, access.JoinToken) {
		return false, fault.New(fault.Forbidden, "you may not do this with join tokens")
	}
	return !id.OwnOnly(a, access.JoinToken), nil
}

// CreateJoinToken makes a token; its secret is in the answer and nowhere else.
func (db *DB) CreateJoinToken(ctx context.Context, id access.Identity, r api.CreateJoinTokenRequest) (api.JoinToken, error) {
	var j api.JoinToken
	if _, err := mayToken(id, access.Create); err != nil {
		return j, err
	}
	labels, err := jsonText(orEmpty(r.Labels))
	if err != nil {
		return j, err
	}
	taints, err := jsonText(orNone(r.Taints))
	if err != nil {
		return j, err
	}
	ttl, uses := time.Duration(r.TTLSeconds)*time.Second, r.Uses
	if ttl <= 0 {
		ttl = defaultTokenTTL
	}
	if uses <= 0 {
		uses = defaultTokenUses
	}
	secret, token := newSecret(api.JoinTokenPrefix), orNewID(r.ID)
	before := false
	err = db.write(ctx, "create join token", service, func(b *pgx.Batch) {
		b.Queue("select exists (select from stark.join_tokens where id = $1::text::uuid)", token).Query(one(&before, scanBool))
		b.Queue(`insert into stark.join_tokens as j (id, secret_hash, uses, labels, taints, created_by, expires_at)
			select @id::text::uuid, @hash, @uses::integer, @labels::text::jsonb, @taints::text::jsonb, @by::uuid, now() + @ttl::text::interval
			where `+registersSQL+`
			on conflict (id) do update set secret_hash = excluded.secret_hash, expires_at = excluded.expires_at
				where j.created_by = excluded.created_by and j.uses = excluded.uses and j.revoked_at is null
			returning `+tokenColumns, pgx.StrictNamedArgs{
			"id": token, "hash": HashSecret(secret), "uses": uses, "labels": labels, "taints": taints, "by": id.UserID, "ttl": ttl.String(),
		}).Query(one(&j, scanToken))
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows) && before: // of this very request, and used since
		return api.JoinToken{}, fault.Wrap(err, fault.Conflict, "the token of this request was used or revoked already: ask for another with a new key")
	case errors.Is(err, pgx.ErrNoRows):
		return api.JoinToken{}, fault.Wrap(err, fault.Forbidden, "you may not do this with join tokens")
	}
	if err != nil {
		return api.JoinToken{}, err
	}
	j.Token = secret
	return j, nil
}

// ListJoinTokens gives the tokens, newest first, with those that can no longer be
// used and why: all of them to staff, to others their own.
func (db *DB) ListJoinTokens(ctx context.Context, id access.Identity) ([]api.JoinToken, error) {
	everybody, err := mayToken(id, access.Read)
	if err != nil {
		return nil, err
	}
	tokens := []api.JoinToken{}
	err = db.read(ctx, "list join tokens", service, func(b *pgx.Batch) {
		b.Queue("select "+tokenColumns+` from stark.join_tokens j
			where `+reachesSQL+`
			order by j.created_at desc, j.id limit 1000`, pgx.StrictNamedArgs{"all": everybody, "by": id.UserID}).
			Query(all(&tokens, scanToken))
	})
	return tokens, err
}

// RevokeJoinToken ends a token; nodes that it has let in stay.
func (db *DB) RevokeJoinToken(ctx context.Context, id access.Identity, tokenID string) error {
	if err := checkID(tokenID, "join token"); err != nil {
		return err
	}
	everybody, err := mayToken(id, access.Delete)
	if err != nil {
		return err
	}
	var gone string
	err = db.write(ctx, "revoke join token", service, func(b *pgx.Batch) {
		b.Queue(`update stark.join_tokens j set revoked_at = coalesce(j.revoked_at, now())
			where j.id = @id and `+reachesSQL+` returning j.id::text`,
			pgx.StrictNamedArgs{"id": tokenID, "all": everybody, "by": id.UserID}).Query(one(&gone, scanText))
	})
	return notFound(err, "join token")
}

// JoinTokenValid reports by its error whether a join token may be used now.
func (db *DB) JoinTokenValid(ctx context.Context, secret string) error {
	var valid bool
	err := db.read(ctx, "check join token", service, func(b *pgx.Batch) {
		b.Queue(`select exists (select from stark.join_tokens j where j.secret_hash = $1
			and j.revoked_at is null and j.expires_at > now() and j.uses > 0)`, HashSecret(secret)).Query(one(&valid, scanBool))
	})
	if err == nil && !valid {
		return errJoinToken()
	}
	return err
}

func errJoinToken() error {
	return fault.New(fault.TokenInvalid, "the join token is unknown, used up, expired or revoked")
}
