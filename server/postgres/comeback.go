package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// maxReturning bounds how many nodes come back in one transaction: it holds their rows.
const maxReturning = 256

// returning is a node that comes back with its credential, and what becomes of it.
type returning struct {
	by      Registrar
	request api.RegisterNodeRequest
	row     nodeRow
	session string
	gone    <-chan struct{} // closed when whoever asked has left

	out   Registration
	err   error // refuses this node and no other
	alone bool  // not found, or held by somebody whom the others need not wait for
}

// left reports whether whoever asked has left. What has been asked for after that finds
// it so, so that an answer to nobody comes behind none that somebody waits for.
func (c *returning) left() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// nodeRow is what a node says of itself, documents as text.
type nodeRow struct {
	capabilities, allocatable, labels, annotations, taints, namespaces, ip, agent *string
}

func rowOf(r api.RegisterNodeRequest, m RegisterMeta) (nodeRow, error) {
	row := nodeRow{ip: orNull(m.IP), agent: orNull(truncate(m.UserAgent))}
	var allocatable any
	if r.Allocatable != nil {
		allocatable = r.Allocatable
	}
	for _, d := range []struct {
		to *(*string)
		v  any
	}{
		{&row.capabilities, r.Capabilities},
		{&row.allocatable, allocatable},
		{&row.labels, orEmpty(r.Labels)},
		{&row.annotations, orEmpty(r.Annotations)},
		{&row.taints, orNone(r.Taints)},
		{&row.namespaces, orNone(r.Namespaces)},
	} {
		var err error
		if *d.to, err = jsonText(d.v); err != nil {
			return row, err
		}
	}
	return row, nil
}

// comeBack takes in a node that has shown its credential, together with those that come
// at the same time. Each has its own outcome.
func (db *DB) comeBack(ctx context.Context, by Registrar, r api.RegisterNodeRequest, m RegisterMeta) (Registration, error) {
	row, err := rowOf(r, m)
	if err != nil {
		return Registration{}, err
	}
	if !api.ValidID(by.NodeID) || !api.ValidID(by.CredentialID) {
		return Registration{}, errCredential(nil)
	}
	c := &returning{by: by, request: r, row: row, session: m.Session, gone: ctx.Done()}
	if err := db.returns.do(ctx, c); err != nil {
		return Registration{}, toFault("register node", err)
	}
	if c.alone {
		db.takeBackGroup(ctx, []*returning{c})
	}
	return c.out, c.err
}

// takeBack serves a group of returning nodes. Two connections of one node take turns.
func (db *DB) takeBack(ctx context.Context, group []*returning) {
	for len(group) > 0 {
		seen := make(map[string]bool, len(group))
		var now, later []*returning
		for _, c := range group {
			if seen[c.by.NodeID] {
				later = append(later, c)
				continue
			}
			seen[c.by.NodeID] = true
			now = append(now, c)
		}
		db.takeBackGroup(ctx, now)
		group = later
	}
}

// takeBackGroup takes different nodes in, in one transaction. If that fails for what may
// be one of them it finds out which by halves, so that the others are let in.
func (db *DB) takeBackGroup(ctx context.Context, group []*returning) {
	err := db.transaction(ctx, "register nodes", service, func(t Tx) error {
		if err := takeBack(ctx, t, group); err != nil {
			return err
		}
		db.startLeases(t, group)
		return nil
	})
	if err != nil && len(group) > 1 && refusesRow(err) {
		db.takeBackGroup(ctx, group[:len(group)/2])
		db.takeBackGroup(ctx, group[len(group)/2:])
		return
	}
	if err != nil {
		for _, c := range group {
			c.out, c.err = Registration{}, err
		}
	}
}

// startLeases lets the connections of those that were let in speak for their nodes, and
// no earlier ones any more.
func (db *DB) startLeases(t Tx, group []*returning) {
	var nodes, sessions []string
	for _, c := range group {
		if c.err == nil && !c.alone {
			nodes, sessions = append(nodes, c.by.NodeID), append(sessions, c.session)
		}
	}
	if len(nodes) > 0 {
		t.Queue(startLeasesSQL, nodes, sessions, db.serverID)
	}
}

const startLeasesSQL = `insert into stark.node_leases as l (node_id, renewed_at, session, server_id)
	select v.node_id, now(), v.session, $3 from unnest($1::text[]::uuid[], $2::text[]) v (node_id, session) order by v.node_id
	on conflict (node_id) do update set renewed_at = now(), session = excluded.session, server_id = excluded.server_id`

// onlineSQL keeps what an operator has said of the node.
const onlineSQL = `case when n.status in ('draining', 'maintenance') then n.status else 'online'::public.node_status end`

// What a node that comes back says of itself, and what becomes of it. Its name, labels
// and taints may have been changed by an operator or preset by a join token, so that the
// agent only adds: else whoever holds the machine could move it to where other pods are
// sent.
const (
	comeBackColumns = `runtime_type, capabilities, allocatable, labels, annotations, taints, namespaces, ip_address, user_agent, status`
	comeBackBefore  = `n.runtime_type, n.capabilities, n.allocatable, n.labels, n.annotations, n.taints, n.namespaces, n.ip_address, n.user_agent, n.status`
	comeBackValues  = `v.type::public.runtime_type, v.capabilities::jsonb, coalesce(v.allocatable::jsonb, n.allocatable),
		v.labels::jsonb || n.labels, v.annotations::jsonb || n.annotations,
		case when stark.own_taints(n.taints) = '[]' then v.taints::jsonb else n.taints end,
		case when n.namespaces = '{}' then array(select jsonb_array_elements_text(v.namespaces::jsonb)) else n.namespaces end,
		v.ip, v.agent, ` + onlineSQL
	comeBackRows = `unnest($1::text[]::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
		$9::text[], $10::text[], $11::text[]) v (id, name, type, capabilities, allocatable, labels, annotations, taints, namespaces, ip, agent)`
)

// comeBackArgs are those of comeBackRows.
func comeBackArgs(group []*returning) []any {
	var ids []string
	for _, c := range group {
		ids = append(ids, c.by.NodeID)
	}
	return rowArgs(ids, group)
}

// rowArgs are ids of nodes and what those say of themselves, column by column.
func rowArgs(ids []string, group []*returning) []any {
	var names, types []string
	documents := make([][]*string, 8)
	for _, c := range group {
		names, types = append(names, c.request.Name), append(types, string(c.request.RuntimeType))
		r := c.row
		for i, d := range []*string{r.capabilities, r.allocatable, r.labels, r.annotations, r.taints, r.namespaces, r.ip, r.agent} {
			documents[i] = append(documents[i], d)
		}
	}
	args := []any{ids, names, types}
	for _, d := range documents {
		args = append(args, d)
	}
	return args
}

// held is what a transaction has found of nodes that come back, and keeps from changing.
type held struct {
	credentials map[string]heldCredential
	registrars  map[string]bool // users who may register nodes
	nodes       map[string]heldNode
}

type heldCredential struct {
	id, node string
	rotate   bool // a new one was asked for
	unused   bool // for a while
}

type heldNode struct {
	api.Node
	changed bool // by what the agent says now
}

// unusedFor is how long a credential counts as used since it was written down: a restart
// of a server is not worth a row for each of its nodes.
const unusedFor = `interval '10 minutes'`

// Whoever revokes a credential or takes a role away waits for these locks, and what they
// do then finds the node online. The order is that of everybody who takes several:
// registrars, nodes, credentials, each by id. No lock is one that two may hold who both go
// on to write.
const (
	holdCredentialsSQL = `select c.id::text, c.node_id::text, c.rotate_requested_at is not null, coalesce(c.last_used_at < now() - ` + unusedFor + `, true)
		from stark.node_credentials c where c.id = any ($1::text[]::uuid[]) and c.revoked_at is null order by c.id for no key update of c `
	holdRegistrarsSQL = `select r::text from stark.hold_registrars($1::text[]::uuid[]) r`
	holdNodesSQL      = "select " + nodeColumns + `, row(` + comeBackBefore + `) is distinct from row(` + comeBackValues + `)
		from ` + comeBackRows + ` join public.nodes n on n.id = v.id and n.name = v.name order by n.id for no key update of n `
)

// skipLocked has several nodes that come back leave out those whose rows somebody else
// holds: one row that stays locked would fail all of them.
const skipLocked = "skip locked"

// holdReturning finds what nodes come back to, in one round trip.
func holdReturning(ctx context.Context, t Tx, group []*returning) (held, error) {
	var credentials []heldCredential
	var registrars []string
	var nodes []heldNode
	args, skip := comeBackArgs(group), ""
	if len(group) > 1 {
		skip = skipLocked
	}
	shown := make([]string, len(group))
	for i, c := range group {
		shown[i] = c.by.CredentialID
	}
	t.Queue(holdRegistrarsSQL, args[0]).Query(all(&registrars, scanText))
	t.Queue(holdNodesSQL+skip, args...).Query(all(&nodes, func(row pgx.CollectableRow) (heldNode, error) {
		var n heldNode
		var err error
		n.Node, err = scanNode(splitRow{row, []any{&n.changed}})
		return n, err
	}))
	err := t.Query(ctx, all(&credentials, func(row pgx.CollectableRow) (heldCredential, error) {
		var c heldCredential
		err := row.Scan(&c.id, &c.node, &c.rotate, &c.unused)
		return c, err
	}), holdCredentialsSQL+skip, shown)
	h := held{credentials: map[string]heldCredential{}, registrars: map[string]bool{}, nodes: map[string]heldNode{}}
	for _, c := range credentials {
		h.credentials[c.id] = c
	}
	for _, user := range registrars {
		h.registrars[user] = true
	}
	for _, n := range nodes {
		h.nodes[n.ID] = n
	}
	return h, err
}

// standing tells which nodes somebody answers for.
func (h held) standing(ctx context.Context, t Tx) (map[string]bool, error) {
	stands := make(map[string]bool, len(h.nodes))
	var doubtful []string
	for id, n := range h.nodes {
		stands[id] = n.RegisteredBy == "" && n.Shared || h.registrars[n.RegisteredBy]
		if n.RegisteredBy != "" && !stands[id] {
			doubtful = append(doubtful, id) // it may have been taken over in between
		}
	}
	if len(doubtful) == 0 {
		return stands, nil
	}
	slices.Sort(doubtful)
	var taken []string
	err := t.Query(ctx, all(&taken, scanText), "select v.id::text from unnest($1::text[]::uuid[]) v (id) where stark.node_stands(v.id)", doubtful)
	for _, id := range taken {
		stands[id] = true
	}
	return stands, err
}

// takeBack gives each of these different nodes its outcome; the caller starts the leases.
// A node about which nothing is new, as after a restart of the server, is not written.
// An error fails the whole transaction, which then has happened for none of them.
func takeBack(ctx context.Context, t Tx, group []*returning) error {
	h, err := holdReturning(ctx, t, group)
	if err != nil {
		return err
	}
	stands, err := h.standing(ctx, t)
	if err != nil {
		return err
	}
	var used []string
	var changed []*returning
	for _, c := range group {
		n, credential := h.nodes[c.by.NodeID], h.credentials[c.by.CredentialID]
		c.out, c.err = Registration{Node: n.Node, CredentialID: c.by.CredentialID}, nil
		if c.alone = len(group) > 1 && (n.ID == "" || credential.id == ""); c.alone {
			continue
		}
		switch {
		case credential.id == "" || credential.node != c.by.NodeID:
			c.err = errCredential(nil)
		case n.ID == "" || !stands[n.ID]:
			c.err = fault.New(fault.Conflict, "this credential belongs to a node with another name, or to one whose owner may not register nodes any more")
		case c.left(): // a lease of this connection would end the node's next one
			c.err = toFault("register node", context.Canceled)
		}
		if c.err != nil {
			c.out = Registration{}
			continue
		}
		if n.changed {
			changed = append(changed, c)
		}
		if credential.unused {
			used = append(used, credential.id)
		}
		if credential.rotate {
			c.out.Credential, c.out.CredentialID = renew(t, c.by)
		}
	}
	if len(used) > 0 {
		t.Queue("update stark.node_credentials set last_used_at = now() where id = any ($1::text[]::uuid[])", used)
	}
	if len(changed) > 0 {
		t.Queue(`update public.nodes n set (`+comeBackColumns+`, last_heartbeat) = row(`+comeBackValues+`, now())
			from `+comeBackRows+` where n.id = v.id returning `+nodeColumns, comeBackArgs(changed)...).
			Query(func(rows pgx.Rows) error { return takeChanged(rows, changed) })
	}
	return nil
}

// takeChanged gives nodes as they were written to those who have changed them.
func takeChanged(rows pgx.Rows, changed []*returning) error {
	nodes, err := pgx.CollectRows(rows, scanNode)
	if err != nil {
		return err
	}
	by := make(map[string]api.Node, len(nodes))
	for _, n := range nodes {
		by[n.ID] = n
	}
	for _, c := range changed {
		c.out.Node = by[c.by.NodeID]
	}
	return nil
}
