package postgres

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// maxJoining bounds how many nodes register for the first time in one transaction: it
// holds their tokens.
const maxJoining = 256

// joining is a node that registers without a node's credential, and what becomes of it. A
// fleet registers by one join token, whose uses are counted in one row: whoever waits for
// that row must not hold a connection, or the fleet takes all there are.
type joining struct {
	returning

	hash   []byte // of the credential that the agent proposes; nil for none
	before bool   // the agent has registered by it, and was not told: it comes back
	later  bool   // what it wants is being taken by another one of its transaction
	user   joiner // by whose right
	id     string // of the node
	makes  bool   // a new one
}

// joiner is whose right a node registers by, and what that right presets.
type joiner struct {
	user           string
	shared         bool
	labels, taints string
}

// join takes in a node that has shown no credential of its own, together with those that
// come at the same time. Each has its own outcome.
func (db *DB) join(ctx context.Context, by Registrar, r api.RegisterNodeRequest, m RegisterMeta) (Registration, error) {
	row, err := rowOf(r, m)
	if err != nil {
		return Registration{}, err
	}
	c := &joining{returning: returning{by: by, request: r, row: row, session: m.Session, gone: ctx.Done()}}
	if by.Proposed != "" {
		c.hash = HashSecret(by.Proposed)
	}
	if err := db.joins.do(ctx, c); err != nil {
		return Registration{}, toFault("register node", err)
	}
	if c.alone {
		if err := db.joinsHeld.do(ctx, c); err != nil {
			return Registration{}, toFault("register node", err)
		}
	}
	if c.before {
		return db.comeBack(ctx, c.by, r, m)
	}
	return c.out, c.err
}

// joinAll serves a group, which waits for no name and no registration of another one.
func (db *DB) joinAll(ctx context.Context, group []*joining) { db.joinTurns(ctx, group, false) }

// joinHeld serves a node that wants what somebody else holds, and waits for it.
func (db *DB) joinHeld(ctx context.Context, group []*joining) { db.joinTurns(ctx, group, true) }

// joinTurns serves a group. Those that want the same as another one of it take turns, by
// which the second sees what the first has got.
func (db *DB) joinTurns(ctx context.Context, group []*joining, waits bool) {
	for len(group) > 0 {
		db.joinGroup(ctx, group, waits)
		group = slices.DeleteFunc(slices.Clone(group), func(c *joining) bool { return !c.later })
	}
}

// joinGroup takes nodes in, in one transaction. If that fails for what may be one of them
// it finds out which by halves, so that the others are let in.
func (db *DB) joinGroup(ctx context.Context, group []*joining, waits bool) {
	err := db.transaction(ctx, "register nodes", service, func(t Tx) error {
		g := joiningGroup{Tx: t, all: group, waits: waits}
		if err := g.hold(ctx); err != nil {
			return err
		}
		accepted := g.decide()
		if len(accepted) == 0 {
			return errNothingToDo
		}
		g.store(accepted)
		db.startLeases(t, returningOf(accepted))
		return nil
	})
	switch {
	case err == nil:
	case len(group) > 1 && refusesRow(err):
		db.joinGroup(ctx, group[:len(group)/2], waits)
		db.joinGroup(ctx, group[len(group)/2:], waits)
	default:
		for _, c := range group {
			c.reset()
			c.err = nameTaken(err, c.request.Name)
		}
	}
}

// key is what a registration locks that proposes a credential.
func (c *joining) key() int64 {
	return int64(binary.BigEndian.Uint64(c.hash)) //nolint:gosec // any 64 bits will do
}

// reset forgets what an earlier try has found.
func (c *joining) reset() {
	c.out, c.err, c.alone, c.before, c.later = Registration{}, nil, false, false, false
	c.user, c.id, c.makes = joiner{}, "", false
	c.by.NodeID, c.by.CredentialID = "", ""
}

func returningOf(group []*joining) []*returning {
	list := make([]*returning, len(group))
	for i, c := range group {
		list[i] = &c.returning
	}
	return list
}

// joiningGroup is one transaction that takes nodes in, and what it has found and keeps
// from changing.
type joiningGroup struct {
	Tx
	all   []*joining
	waits bool // for names and registrations that others hold; else who wants them is left alone

	busy     map[int64]bool            // by key: proposals of registrations that are under way elsewhere
	proposed map[string]proposedBefore // by hash
	roles    map[string]bool           // of users who may register nodes: whether they are staff
	names    map[string]bool           // that nodes have
	holders  map[string]nameHolder     // of names, but those whose rows somebody else holds
	tokens   map[string]*heldToken     // by hash; those that may be used
}

type proposedBefore struct {
	hash     []byte
	id, node string
	revoked  bool
}

// nameHolder is who holds a node's name.
type nameHolder struct {
	name, id, status, owner string
}

type heldToken struct {
	hash []byte
	id   string
	joiner
	uses, used int
}

// What nodes that register find, and keep from changing. Everybody takes the locks in this
// order, and those of one kind in the order that is said here: of the credentials that are
// proposed, which tell of a registration that is still under way, as of the same agent that
// has come again meanwhile and may wait for its name in the first one; of registrars and
// nodes, as nodes that come back and whoever takes a role away do; of the tokens. A secret
// itself is compared nowhere: what is looked up is the hash of 256 random bits.
const (
	holdProposedSQL = `select k from unnest($1::bigint[]) k where pg_advisory_xact_lock(k)::text is null`
	tryProposedSQL  = `select k from unnest($1::bigint[]) k where not pg_try_advisory_xact_lock(k)`
	proposedSQL     = `select c.secret_hash, c.id::text, c.node_id::text, c.revoked_at is not null
		from stark.node_credentials c where c.secret_hash = any ($1::bytea[])`
	holdJoinersSQL = `select j.user_id::text, j.staff from stark.hold_joiners($1::bytea[], $2::text[]::uuid[]) j`
	namesSQL       = `select n.name from public.nodes n where n.name = any ($1::text[])`
	holdNamesSQL   = `select n.name, n.id::text, n.status::text, coalesce(n.registered_by::text, '')
		from public.nodes n where n.name = any ($1::text[]) order by n.id for no key update of n `
	holdTokensSQL = `select j.secret_hash, j.id::text, j.created_by::text, j.labels::text, j.taints::text, j.uses
		from stark.join_tokens j
		where j.secret_hash = any ($1::bytea[]) and j.revoked_at is null and j.expires_at > now() and j.uses > 0
		order by j.id for no key update of j`
)

// hold finds all that there is to know, in one round trip.
func (g *joiningGroup) hold(ctx context.Context) error {
	var keys []int64
	var proposed, tokens [][]byte
	var users, names []string
	for _, c := range g.all {
		c.reset()
		names = append(names, c.request.Name)
		if c.hash != nil {
			proposed = append(proposed, c.hash)
			keys = append(keys, c.key())
		}
		if c.by.JoinToken != "" {
			tokens = append(tokens, HashSecret(c.by.JoinToken))
		} else if api.ValidID(c.by.UserID) {
			users = append(users, c.by.UserID)
		}
	}
	skip := skipLocked
	if g.waits {
		skip = ""
	}
	g.roles, g.names = map[string]bool{}, map[string]bool{}
	g.holders, g.tokens = map[string]nameHolder{}, map[string]*heldToken{}
	g.holdProposed(keys, proposed)
	g.Queue(holdJoinersSQL, tokens, users).Query(each(func(row pgx.CollectableRow) error {
		var user string
		var staff bool
		err := row.Scan(&user, &staff)
		g.roles[user] = g.roles[user] || staff
		return err
	}))
	g.Queue(namesSQL, names).Query(each(func(row pgx.CollectableRow) error {
		var name string
		err := row.Scan(&name)
		g.names[name] = true
		return err
	}))
	g.Queue(holdNamesSQL+skip, names).Query(each(func(row pgx.CollectableRow) error {
		var h nameHolder
		err := row.Scan(&h.name, &h.id, &h.status, &h.owner)
		g.holders[h.name] = h
		return err
	}))
	return g.Query(ctx, each(func(row pgx.CollectableRow) error {
		var k heldToken
		err := row.Scan(&k.hash, &k.id, &k.user, &k.labels, &k.taints, &k.uses)
		g.tokens[string(k.hash)] = &k
		return err
	}), holdTokensSQL, tokens)
}

// holdProposed finds what is known of the credentials that are proposed.
func (g *joiningGroup) holdProposed(keys []int64, proposed [][]byte) {
	g.busy, g.proposed = map[int64]bool{}, map[string]proposedBefore{}
	if len(keys) == 0 {
		return
	}
	slices.Sort(keys)
	try := tryProposedSQL
	if g.waits {
		try = holdProposedSQL
	}
	g.Queue(try, keys).Query(each(func(row pgx.CollectableRow) error {
		var key int64
		err := row.Scan(&key)
		g.busy[key] = true
		return err
	}))
	g.Queue(proposedSQL, proposed).Query(each(func(row pgx.CollectableRow) error {
		var p proposedBefore
		err := row.Scan(&p.hash, &p.id, &p.node, &p.revoked)
		g.proposed[string(p.hash)] = p
		return err
	}))
}

// decide gives each of the group its outcome, but for what the database makes of it, and
// lists those that are let in. They count in the order in which they came.
func (g *joiningGroup) decide() []*joining {
	var accepted []*joining
	names, proposed := map[string]bool{}, map[string]bool{}
	for _, c := range g.all {
		switch {
		case names[c.request.Name] || proposed[string(c.hash)]:
			c.later = true
		case g.joinedBefore(c):
		case c.hash != nil && g.busy[c.key()]:
			c.alone = true
		case c.left(): // a lease of this connection would end the node's next one
			c.err = toFault("register node", context.Canceled)
		default:
			if c.err = g.admit(c); c.err == nil && !c.alone {
				accepted = append(accepted, c)
				names[c.request.Name] = true
				if c.hash != nil {
					proposed[string(c.hash)] = true
				}
			}
		}
	}
	return accepted
}

// joinedBefore tells whether the agent has registered by the credential that it proposes,
// and was not told, or did not live to hear it: then it is that node.
func (g *joiningGroup) joinedBefore(c *joining) bool {
	p, ok := g.proposed[string(c.hash)]
	switch {
	case c.hash == nil || !ok:
		return false
	case p.revoked:
		c.err = api.InvalidField("credential", fault.FieldInvalidValue, "was given up or revoked before: make another one")
	default:
		c.before, c.by.NodeID, c.by.CredentialID = true, p.node, p.id
	}
	return true
}

// admit lets a node in and takes a use of its join token, or says why not.
func (g *joiningGroup) admit(c *joining) error {
	token, err := g.right(c)
	if err != nil {
		return err
	}
	name := c.request.Name
	h, held := g.holders[name]
	if c.alone = !held && g.names[name] && !g.waits; c.alone {
		return nil
	}
	if held {
		if err := c.mayReplace(h); err != nil {
			return err
		}
	}
	if token != nil {
		token.used++
	}
	c.id, c.makes = h.id, !held
	if c.makes {
		c.id = api.NewID()
	}
	return nil
}

// right finds by whose right a node registers: a token's is that of who made it.
func (g *joiningGroup) right(c *joining) (*heldToken, error) {
	if c.by.JoinToken != "" {
		k := g.tokens[string(HashSecret(c.by.JoinToken))]
		if k == nil || k.used >= k.uses {
			return nil, errJoinToken()
		}
		staff, may := g.roles[k.user]
		if !may {
			return nil, errJoinToken()
		}
		c.user = k.joiner
		c.user.shared = staff
		return k, nil
	}
	if _, may := g.roles[c.by.UserID]; !may {
		return nil, fault.New(fault.Forbidden, "you may not register nodes")
	}
	c.user = joiner{user: c.by.UserID, shared: c.by.Shared, labels: "{}", taints: "[]"}
	return nil, nil //nolint:nilnil // a user needs no token
}

func (c *joining) mayReplace(h nameHolder) error {
	if h.owner != c.user.user {
		return fault.New(fault.Conflict, "a node named %s exists already", h.name)
	}
	away := h.status == string(api.NodeOffline) || h.status == string(api.NodeUnhealthy)
	if c.by.JoinToken != "" && h.status == string(api.NodeSuspect) {
		return fault.New(fault.Conflict, "the node %s has lost its connection just now, and its agent may come back: try again in half a minute, or with its credential", h.name)
	}
	if c.by.JoinToken != "" && !away {
		return fault.New(fault.Conflict, "the node %s is connected; its agent has its own credential", h.name)
	}
	return nil
}

// What a token presets wins over what a node has, and that over what an agent says who
// comes with a token; an owner who registers a node anew says what it shall have.
const (
	joiningRows = `unnest($1::text[]::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
			$9::text[], $10::text[], $11::text[], $12::text[]::uuid[], $13::boolean[], $14::boolean[], $15::text[], $16::text[])
		v (id, name, type, capabilities, allocatable, labels, annotations, taints, namespaces, ip, agent,
			owner, shared, by_token, preset_labels, preset_taints)`
	makeNodesSQL = `insert into public.nodes as n (id, name, runtime_type, status, last_heartbeat, capabilities, allocatable,
			labels, annotations, taints, namespaces, registered_by, shared, ip_address, user_agent)
		select v.id, v.name, v.type::public.runtime_type, 'online', now(), v.capabilities::jsonb,
			coalesce(v.allocatable::jsonb, ` + defaultCapacity + `), v.labels::jsonb || v.preset_labels::jsonb,
			v.annotations::jsonb, v.taints::jsonb || v.preset_taints::jsonb,
			array(select jsonb_array_elements_text(v.namespaces::jsonb)), v.owner, v.shared, v.ip, v.agent
		from ` + joiningRows + ` order by v.name
		returning ` + nodeColumns
	replaceNodesSQL = `update public.nodes n set runtime_type = v.type::public.runtime_type, status = ` + onlineSQL + `,
			last_heartbeat = now(), capabilities = v.capabilities::jsonb, allocatable = coalesce(v.allocatable::jsonb, n.allocatable),
			labels = case when v.by_token then v.labels::jsonb || n.labels || v.preset_labels::jsonb else n.labels || v.labels::jsonb end,
			annotations = case when v.by_token then v.annotations::jsonb || n.annotations else n.annotations || v.annotations::jsonb end,
			taints = case when stark.own_taints(n.taints) = '[]' then v.taints::jsonb || v.preset_taints::jsonb else n.taints end,
			shared = v.shared, ip_address = v.ip, user_agent = v.agent
		from ` + joiningRows + ` where n.id = v.id
		returning ` + nodeColumns
	addCredentialsSQL = `insert into stark.node_credentials (id, node_id, secret_hash, created_by, last_used_at)
		select v.id, v.node_id, v.hash, v.owner, now()
		from unnest($1::text[]::uuid[], $2::text[]::uuid[], $3::bytea[], $4::text[]::uuid[]) v (id, node_id, hash, owner)`
)

// store writes down those that were let in.
func (g *joiningGroup) store(accepted []*joining) {
	var made, replaced []*joining
	var ids []string // of those that are replaced
	var credentials, nodes, owners []string
	var hashes [][]byte
	for _, c := range accepted {
		if c.makes {
			made = append(made, c)
		} else {
			replaced, ids = append(replaced, c), append(ids, c.id)
		}
		c.out.CredentialID, c.by.NodeID = api.NewID(), c.id
		hash := c.hash
		if hash == nil {
			c.out.Credential = newSecret(api.NodeCredentialPrefix)
			hash = HashSecret(c.out.Credential)
		}
		credentials, nodes, owners = append(credentials, c.out.CredentialID), append(nodes, c.id), append(owners, c.user.user)
		hashes = append(hashes, hash)
	}
	if len(replaced) > 0 {
		g.Queue(replaceNodesSQL, joiningArgs(replaced)...).Query(takeStored(replaced))
		g.Queue("update stark.node_credentials set revoked_at = now() where node_id = any ($1::text[]::uuid[]) and revoked_at is null", ids)
	}
	if len(made) > 0 {
		g.Queue(makeNodesSQL, joiningArgs(made)...).Query(takeStored(made))
	}
	g.Queue(addCredentialsSQL, credentials, nodes, hashes, owners)
	g.useTokens()
}

// useTokens counts what was used. The rows are held.
func (g *joiningGroup) useTokens() {
	var ids []string
	var used []int32
	for _, k := range g.tokens {
		if k.used > 0 {
			ids, used = append(ids, k.id), append(used, int32(k.used)) //nolint:gosec // at most maxJoining
		}
	}
	if len(ids) > 0 {
		g.Queue(`update stark.join_tokens j set uses = j.uses - v.used
			from unnest($1::text[]::uuid[], $2::integer[]) v (id, used) where j.id = v.id`, ids, used)
	}
}

// joiningArgs are those of joiningRows.
func joiningArgs(group []*joining) []any {
	ids := make([]string, len(group))
	owners, labels, taints := make([]string, len(group)), make([]string, len(group)), make([]string, len(group))
	shared, byToken := make([]bool, len(group)), make([]bool, len(group))
	for i, c := range group {
		ids[i], owners[i], labels[i], taints[i] = c.id, c.user.user, c.user.labels, c.user.taints
		shared[i], byToken[i] = c.user.shared, c.by.JoinToken != ""
	}
	return append(rowArgs(ids, returningOf(group)), owners, shared, byToken, labels, taints)
}

// takeStored gives nodes as they were written to those who have registered them.
func takeStored(group []*joining) func(pgx.Rows) error {
	return func(rows pgx.Rows) error { return takeChanged(rows, returningOf(group)) }
}

// each hands rows to take one by one.
func each(take func(pgx.CollectableRow) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) { return struct{}{}, take(row) })
		return err
	}
}
