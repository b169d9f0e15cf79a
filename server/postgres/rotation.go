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

// shownCredential is one that is looked up, and what was found.
type shownCredential struct {
	hash  []byte
	found Credential // without an id where there is none
	fresh bool       // it is to replace another one
	err   error
}

// maxShown bounds how many credentials are looked up by one statement.
const maxShown = 256

// NodeByCredential tells which node a credential belongs to. It is no good while
// nobody answers for the node; it is good again when the owner has the right.
// Showing a new one ends the one that it replaces.
func (db *DB) NodeByCredential(ctx context.Context, secret string) (Credential, error) {
	c := &shownCredential{hash: HashSecret(secret)}
	if err := db.shown.do(ctx, c); err != nil {
		return Credential{}, toFault("check node credential", err)
	}
	switch {
	case c.err != nil:
		return Credential{}, c.err
	case c.found.ID == "":
		return Credential{}, errCredential(nil)
	case c.fresh:
		return c.found, db.ConfirmCredential(ctx, c.found.ID)
	}
	return c.found, nil
}

// nodeStandsSQL is stark.node_stands of the node n, without its lock.
const nodeStandsSQL = `case when n.registered_by is null then n.shared else exists (select from public.user_roles r
	where r.user_id = n.registered_by and r.role in ('admin', 'operator', 'developer')) end`

// lookUp answers a group of NodeByCredential. It locks nothing: registering does.
func (db *DB) lookUp(ctx context.Context, group []*shownCredential) {
	hashes, by := make([][]byte, len(group)), make(map[string][]*shownCredential, len(group))
	for i, c := range group {
		hashes[i] = c.hash
		by[string(c.hash)] = append(by[string(c.hash)], c)
	}
	var found []shownCredential
	err := db.read(ctx, "check node credentials", service, func(b *pgx.Batch) {
		b.Queue(`select c.secret_hash, c.id::text, c.node_id::text, c.replaces is not null
			from stark.node_credentials c join public.nodes n on n.id = c.node_id
			where c.secret_hash = any ($1::bytea[]) and c.revoked_at is null and `+nodeStandsSQL, hashes).
			Query(all(&found, func(row pgx.CollectableRow) (shownCredential, error) {
				var c shownCredential
				err := row.Scan(&c.hash, &c.found.ID, &c.found.NodeID, &c.fresh)
				return c, err
			}))
	})
	for _, c := range group {
		c.err = err
	}
	for _, f := range found {
		for _, c := range by[string(f.hash)] {
			c.found, c.fresh = f.found, f.fresh
		}
	}
}

// renew gives a node that comes back a new credential beside its old one, with the
// transaction. Those that were given out before and never shown end now.
func renew(t Tx, by Registrar) (secret, id string) {
	secret, id = newSecret(api.NodeCredentialPrefix), api.NewID()
	t.Queue("update stark.node_credentials set revoked_at = now() where node_id = $1 and revoked_at is null and replaces is not null", by.NodeID)
	t.Queue(`insert into stark.node_credentials (id, node_id, secret_hash, created_by, replaces)
		select $1, o.node_id, $2, o.created_by, o.id from stark.node_credentials o where o.id = $3`, id, HashSecret(secret), by.CredentialID)
	return secret, id
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
		b.Queue(`select c.id::text from stark.node_credentials c join public.nodes n on n.id = c.node_id
			where c.id = any ($1::text[]::uuid[]) and c.revoked_at is null and c.rotate_requested_at is null
				and `+nodeStandsSQL, ids).Query(all(&usable, scanText))
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

// mayCredentialsSQL asks, of the node n, whether the user $2 may change its credentials.
const mayCredentialsSQL = `exists (select from public.user_roles r where r.user_id = $2
	and (r.role in ('admin', 'operator') or r.role = 'developer' and n.registered_by = r.user_id))`

// changeCredentials runs a statement on the credentials of a node that the caller
// owns, or any for staff. They lie in schema stark, out of the reach of row level
// security, so the rights are checked here, by the roles of this moment: the statement
// changes nothing without them.
func (db *DB) changeCredentials(ctx context.Context, id access.Identity, nodeID, sql string) error {
	if err := checkID(nodeID, "node"); err != nil {
		return err
	}
	if id.NodeID != "" || !api.ValidID(id.UserID) || !id.Can(access.Update, access.Node) {
		return fault.New(fault.Forbidden, "you may not change the credentials of nodes")
	}
	var may bool
	var changed []string
	err := db.write(ctx, "change credentials", service, func(b *pgx.Batch) {
		b.Queue("select "+mayCredentialsSQL+" from public.nodes n where n.id = $1 for share of n", nodeID, id.UserID).Query(one(&may, scanBool))
		b.Queue(sql+" and exists (select from public.nodes n where n.id = $1 and "+mayCredentialsSQL+") returning id::text", nodeID, id.UserID).
			Query(all(&changed, scanText))
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.Wrap(err, fault.NotFound, "node not found")
	case err != nil:
		return err
	case !may:
		return fault.New(fault.Forbidden, "this node was registered by somebody else")
	case len(changed) == 0:
		return fault.New(fault.InvalidState, "this node has no credential; register it with a join token")
	}
	return nil
}
