package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A credential is replaced in three steps, none of which can lock a node out: the
// wish is stored and the node's socket closed; the node comes back with the old
// one and is given a new one, both being good; and the old one ends when the node
// has shown that it kept the new one.

// Credential names a credential and its node, and never holds the secret.
type Credential struct {
	ID     string
	NodeID string
}

func errCredential(cause error) error {
	return fault.Wrap(cause, fault.TokenInvalid, "the node credential is unknown or revoked, or the owner of the node may not register nodes any more")
}

// NodeByCredential tells which node a credential belongs to. It is no good while
// nobody answers for the node; it is good again when the owner has the right.
// Showing a new one ends the one that it replaces.
func (db *DB) NodeByCredential(ctx context.Context, secret string) (Credential, error) {
	var c Credential
	var fresh bool
	err := db.read(ctx, "check node credential", service, func(b *pgx.Batch) {
		b.Queue(`select c.id::text, c.node_id::text, c.replaces is not null from stark.node_credentials c
			where c.secret_hash = $1 and c.revoked_at is null and stark.node_stands(c.node_id)`, HashSecret(secret)).
			Query(one(&c, func(row pgx.CollectableRow) (Credential, error) {
				var c Credential
				err := row.Scan(&c.ID, &c.NodeID, &fresh)
				return c, err
			}))
	})
	if fault.CodeOf(err) == fault.NotFound {
		return c, errCredential(err)
	}
	if err == nil && fresh {
		err = db.ConfirmCredential(ctx, c.ID)
	}
	return c, err
}

// renew gives the node of a registration a new credential beside its old one.
// Those that were given out before and never shown end now.
func (g *registration) renew(ctx context.Context) (secret, id string, err error) {
	secret, id = newSecret(api.NodeCredentialPrefix), api.NewID()
	g.Queue("update stark.node_credentials set revoked_at = now() where node_id = $1 and revoked_at is null and replaces is not null", g.by.NodeID)
	_, err = g.Exec(ctx, `insert into stark.node_credentials (id, node_id, secret_hash, created_by, replaces)
		select $1, o.node_id, $2, o.created_by, o.id from stark.node_credentials o where o.id = $3`, id, HashSecret(secret), g.by.CredentialID)
	return secret, id, err
}

// ConfirmCredential ends what a credential replaces: its node holds the new one.
func (db *DB) ConfirmCredential(ctx context.Context, credentialID string) error {
	if err := checkID(credentialID, "credential"); err != nil {
		return err
	}
	return db.write(ctx, "confirm credential", service, func(b *pgx.Batch) {
		b.Queue(`update stark.node_credentials o set revoked_at = now() from stark.node_credentials c
			where c.id = $1 and c.revoked_at is null and c.replaces is not null
				and o.node_id = c.node_id and o.id <> c.id and o.revoked_at is null`, credentialID)
		b.Queue("update stark.node_credentials set replaces = null, last_used_at = now() where id = $1 and revoked_at is null", credentialID)
	})
}

// UsableCredentials gives those of the named credentials that a node may go on
// with: neither revoked nor about to be replaced, and somebody answers for the node.
func (db *DB) UsableCredentials(ctx context.Context, ids []string) ([]string, error) {
	var usable []string
	err := db.read(ctx, "check node credentials", service, func(b *pgx.Batch) {
		// As stark.node_stands, without its lock: this is asked again and again.
		b.Queue(`select c.id::text from stark.node_credentials c join public.nodes n on n.id = c.node_id
			where c.id = any ($1::text[]::uuid[]) and c.revoked_at is null and c.rotate_requested_at is null
				and case when n.registered_by is null then n.shared else exists (select from public.user_roles r
					where r.user_id = n.registered_by and r.role in ('admin', 'operator', 'developer')) end`, ids).Query(all(&usable, scanText))
	})
	return usable, err
}

// RotateCredential asks for a new credential of a node, which gets it as soon as
// it is, or comes, back.
func (db *DB) RotateCredential(ctx context.Context, id access.Identity, nodeID string) error {
	return db.changeCredentials(ctx, id, nodeID, `update stark.node_credentials set rotate_requested_at = now()
		where node_id = $1 and revoked_at is null and replaces is null`)
}

// RevokeCredentials ends every credential of a node: it must be registered anew.
func (db *DB) RevokeCredentials(ctx context.Context, id access.Identity, nodeID string) error {
	return db.changeCredentials(ctx, id, nodeID, `update stark.node_credentials set revoked_at = now()
		where node_id = $1 and revoked_at is null`)
}

// changeCredentials runs a statement on the credentials of a node that the caller
// owns, or any for staff. They lie in schema stark, out of the reach of row level
// security, so the rights are checked here, by the roles of this moment.
func (db *DB) changeCredentials(ctx context.Context, id access.Identity, nodeID, sql string) error {
	if err := checkID(nodeID, "node"); err != nil {
		return err
	}
	if id.NodeID != "" || !api.ValidID(id.UserID) || !id.Can(access.Update, access.Node) {
		return fault.New(fault.Forbidden, "you may not change the credentials of nodes")
	}
	return db.transaction(ctx, "change credentials", service, func(t Tx) error {
		var may bool
		err := t.Query(ctx, one(&may, scanBool), `select exists (select from public.user_roles r where r.user_id = $2
				and (r.role in ('admin', 'operator') or r.role = 'developer' and n.registered_by = r.user_id))
			from public.nodes n where n.id = $1 for share of n`, nodeID, id.UserID)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.Wrap(err, fault.NotFound, "node not found")
		}
		if err != nil {
			return err
		}
		if !may {
			return fault.New(fault.Forbidden, "this node was registered by somebody else")
		}
		n, err := t.Exec(ctx, sql, nodeID)
		if err == nil && n == 0 {
			return fault.New(fault.InvalidState, "this node has no credential; register it with a join token")
		}
		return err
	})
}
