package postgres

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Registrar is by what right a node registers: one of its parts is set, by a
// caller that has checked a user's rights or a node's credential.
type Registrar struct {
	UserID    string // of a user with the right to register nodes
	Shared    bool   // the user is staff, so the node serves everybody
	JoinToken string // checked and used up here
	NodeID    string // the connection came with this node's credential

	CredentialID string // the one that was shown, with NodeID

	Proposed string // the credential that the agent has made for itself; "" for none
}

// RegisterMeta is what the connection tells about a node.
type RegisterMeta struct {
	Session   string // names the connection, in the lease
	IP        string
	UserAgent string
}

// Registration is the outcome: Credential is set when a new one was issued, and
// CredentialID names the one that the node is to use from now on.
type Registration struct {
	Node         api.Node
	Credential   string
	CredentialID string
}

// nameOwner is who holds a node's name.
type nameOwner struct {
	id, status, owner string
}

// RegisterNode takes a node in, in one transaction: it uses up the join token,
// makes the node or finds the one that the registrar owns, issues a credential
// where none was shown, and starts the lease of the session.
//
// A name stays with its owner. Whoever owns an existing node and comes without
// its credential replaces it, and the old credential ends; by a join token that
// is possible only while the node is not connected.
func (db *DB) RegisterNode(ctx context.Context, by Registrar, r api.RegisterNodeRequest, m RegisterMeta) (Registration, error) {
	if by.NodeID != "" {
		return db.comeBack(ctx, by, r, m)
	}
	args, err := nodeArgs(r)
	if err != nil {
		return Registration{}, err
	}
	args["ip"], args["agent"] = orNull(m.IP), orNull(truncate(m.UserAgent))
	var out *returning
	err = db.transaction(ctx, "register node", service, func(t Tx) error {
		reg := registration{Tx: t, args: args, by: by, request: r, meta: m}
		var err error
		if out, err = reg.join(ctx); err != nil {
			return err
		}
		db.startLeases(t, []*returning{out})
		return nil
	})
	if err != nil {
		return Registration{}, nameTaken(err, r.Name)
	}
	return out.out, nil
}

// truncate keeps a user agent within its column.
func truncate(s string) string {
	const most = 512
	if len(s) > most {
		return s[:most]
	}
	return s
}

// registration is one run of RegisterNode's transaction.
type registration struct {
	Tx
	args    pgx.StrictNamedArgs
	by      Registrar
	request api.RegisterNodeRequest
	meta    RegisterMeta
}

func (g *registration) with(more pgx.StrictNamedArgs) pgx.StrictNamedArgs {
	for name, v := range g.args {
		if _, ok := more[name]; !ok {
			more[name] = v
		}
	}
	return more
}

// join makes a node or replaces the registrar's own of that name, or finds that it has
// done so before. The outcome is complete with the commit.
func (g *registration) join(ctx context.Context) (*returning, error) {
	if g.by.Proposed != "" {
		before, err := g.joinedBefore(ctx)
		if err != nil {
			return nil, err
		}
		if before {
			return g.comeBack(ctx)
		}
	}
	if g.by.JoinToken != "" {
		if err := g.useToken(ctx); err != nil {
			return nil, err
		}
	}
	if !api.ValidID(g.by.UserID) {
		return nil, fault.New(fault.Forbidden, "you may not register nodes")
	}
	var holders []nameOwner
	err := g.Query(ctx, all(&holders, func(row pgx.CollectableRow) (nameOwner, error) {
		var o nameOwner
		err := row.Scan(&o.id, &o.status, &o.owner)
		return o, err
	}), `select n.id::text, n.status::text, coalesce(n.registered_by::text, '') from public.nodes n where n.name = $1 for update`, g.request.Name)
	if err != nil {
		return nil, err
	}
	var id *string
	if len(holders) > 0 {
		if err := g.mayReplace(holders[0]); err != nil {
			return nil, err
		}
		id = &holders[0].id
	}
	n, err := g.store(ctx, id)
	if err != nil {
		return nil, err
	}
	g.by.NodeID = n.ID
	out := Registration{Node: n, CredentialID: api.NewID()}
	secret := g.by.Proposed
	if secret == "" {
		secret = newSecret(api.NodeCredentialPrefix)
		out.Credential = secret
	}
	g.Queue("update stark.node_credentials set revoked_at = now() where node_id = $1 and revoked_at is null", n.ID)
	g.Queue("insert into stark.node_credentials (id, node_id, secret_hash, created_by, last_used_at) values ($1, $2, $3, $4, now())",
		out.CredentialID, n.ID, HashSecret(secret), g.by.UserID)
	return &returning{by: g.by, session: g.meta.Session, out: out}, nil
}

// comeBack is for an agent that has registered before and does not know it.
func (g *registration) comeBack(ctx context.Context) (*returning, error) {
	row, err := rowOf(g.request, g.meta)
	if err != nil {
		return nil, err
	}
	c := &returning{by: g.by, request: g.request, row: row, session: g.meta.Session}
	if err := takeBack(ctx, g.Tx, []*returning{c}); err != nil {
		return nil, err
	}
	return c, c.err
}

// joinedBefore tells whether the agent has registered by the credential that it
// proposes, and was not told, or did not live to hear it: then it is that node. A
// registration that is still under way is waited for. The secret itself is compared
// nowhere: what is looked up is the hash of 256 random bits.
func (g *registration) joinedBefore(ctx context.Context) (bool, error) {
	type found struct {
		id, node string
		revoked  bool
	}
	hash := HashSecret(g.by.Proposed)
	g.Queue("select pg_advisory_xact_lock($1)", int64(binary.BigEndian.Uint64(hash))) //nolint:gosec // any 64 bits will do
	var c found
	err := g.Query(ctx, one(&c, func(row pgx.CollectableRow) (found, error) {
		var c found
		err := row.Scan(&c.id, &c.node, &c.revoked)
		return c, err
	}), "select c.id::text, c.node_id::text, c.revoked_at is not null from stark.node_credentials c where c.secret_hash = $1", hash)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	case c.revoked:
		return false, api.InvalidField("credential", fault.FieldInvalidValue, "was given up or revoked before: make another one")
	}
	g.by.NodeID, g.by.CredentialID = c.node, c.id
	return true, nil
}

func (g *registration) mayReplace(o nameOwner) error {
	if o.owner != g.by.UserID {
		return fault.New(fault.Conflict, "a node named %s exists already", g.request.Name)
	}
	away := o.status == string(api.NodeOffline) || o.status == string(api.NodeUnhealthy)
	if g.by.JoinToken != "" && o.status == string(api.NodeSuspect) {
		return fault.New(fault.Conflict, "the node %s has lost its connection just now, and its agent may come back: try again in half a minute, or with its credential", g.request.Name)
	}
	if g.by.JoinToken != "" && !away {
		return fault.New(fault.Conflict, "the node %s is connected; its agent has its own credential", g.request.Name)
	}
	return nil
}

// useToken takes one use of the join token and acts for who made it, with what
// the token presets.
func (g *registration) useToken(ctx context.Context) error {
	type found struct {
		user           string
		shared         bool
		labels, taints string
	}
	var f found
	err := g.Query(ctx, one(&f, func(row pgx.CollectableRow) (found, error) {
		var f found
		err := row.Scan(&f.user, &f.shared, &f.labels, &f.taints)
		return f, err
	}), `update stark.join_tokens j set uses = j.uses - 1
		where j.secret_hash = $1 and j.revoked_at is null and j.expires_at > now() and j.uses > 0
			and exists (select from public.user_roles r where r.user_id = j.created_by and r.role in ('admin', 'operator', 'developer'))
		returning j.created_by::text, exists (select from public.user_roles r
			where r.user_id = j.created_by and r.role in ('admin', 'operator')), j.labels::text, j.taints::text`,
		HashSecret(g.by.JoinToken))
	if errors.Is(err, pgx.ErrNoRows) {
		return errJoinToken()
	}
	if err != nil {
		return err
	}
	g.by.UserID, g.by.Shared = f.user, f.shared
	g.args = g.with(pgx.StrictNamedArgs{"presetLabels": f.labels, "presetTaints": f.taints})
	return nil
}

// store inserts the node, or overwrites the one with this id. What a token
// presets wins over what the node has, and that over what an agent says who comes
// with a token; an owner who registers it anew says what it shall have.
func (g *registration) store(ctx context.Context, id *string) (api.Node, error) {
	args := g.with(pgx.StrictNamedArgs{"id": id, "user": g.by.UserID, "shared": g.by.Shared, "byToken": g.by.JoinToken != ""})
	if _, ok := args["presetLabels"]; !ok {
		args["presetLabels"], args["presetTaints"] = "{}", "[]"
	}
	var n api.Node
	err := g.Query(ctx, one(&n, scanNode), `insert into public.nodes as n (id, name, runtime_type, status, last_heartbeat, capabilities, allocatable,
			labels, annotations, taints, namespaces, registered_by, shared, ip_address, user_agent)
		values (coalesce(@id::uuid, gen_random_uuid()), @name, @type::text::public.runtime_type, 'online', now(), @capabilities::text::jsonb,
			coalesce(@allocatable::text::jsonb, `+defaultCapacity+`), @labels::text::jsonb || @presetLabels::text::jsonb,
			@annotations::text::jsonb, @taints::text::jsonb || @presetTaints::text::jsonb, @namespaces::text[], @user::uuid, @shared::boolean, @ip, @agent)
		on conflict (id) do update set runtime_type = excluded.runtime_type, status = `+onlineSQL+`,
			last_heartbeat = now(), capabilities = excluded.capabilities,
			allocatable = coalesce(@allocatable::text::jsonb, n.allocatable),
			labels = case when @byToken::boolean then @labels::text::jsonb || n.labels || @presetLabels::text::jsonb else n.labels || excluded.labels end,
			annotations = case when @byToken::boolean then excluded.annotations || n.annotations else n.annotations || excluded.annotations end,
			taints = case when stark.own_taints(n.taints) = '[]' then excluded.taints else n.taints end, shared = excluded.shared,
			ip_address = excluded.ip_address, user_agent = excluded.user_agent
		returning `+nodeColumns, args)
	return n, err
}
