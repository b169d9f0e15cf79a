package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	// relayPassTTL is how long a pass may be shown: it is used at once or not at all.
	relayPassTTL = 15 * time.Second
	// serverTTL is how long a server counts as there without a word. Its address is
	// renewed several times within it.
	serverTTL       = 30 * time.Second
	relayPassPrefix = "stark_relay_"
)

// RelayPass lets whoever shows Secret at Address ask once, within 15 s, for the logs of
// one pod on one node.
type RelayPass struct {
	Address string
	Secret  string
}

// RelayTarget is what a pass was made out for.
type RelayTarget struct{ NodeID, PodID string }

// AnnounceServer says, and says again, where other servers reach this one.
func (db *DB) AnnounceServer(ctx context.Context, address string) error {
	return db.read(ctx, "announce server", service, func(b *pgx.Batch) { // repeating it is harmless, and the feed does not care
		b.Queue(`insert into stark.servers as s (id, address) values ($1, $2)
			on conflict (id) do update set address = excluded.address, renewed_at = now()`, db.serverID, address)
	})
}

// WithdrawServer takes this server's address back.
func (db *DB) WithdrawServer(ctx context.Context) error {
	return db.read(ctx, "withdraw server", service, func(b *pgx.Batch) {
		b.Queue("delete from stark.servers s where s.id = $1", db.serverID)
	})
}

// RelayPass makes a pass for the server that holds a node's connection. It is
// Unavailable where no other server does.
func (db *DB) RelayPass(ctx context.Context, nodeID, podID string) (RelayPass, error) {
	if !api.ValidID(nodeID) || !api.ValidID(podID) {
		return RelayPass{}, fault.New(fault.NotFound, "no such pod on this node")
	}
	p := RelayPass{Secret: newSecret(relayPassPrefix)}
	err := db.read(ctx, "make relay pass", service, func(b *pgx.Batch) { // repeating it makes one pass
		b.Queue(`with target as (
				select s.id, s.address from stark.node_leases l join stark.servers s on s.id = l.server_id
				where l.node_id = @node and s.id <> @me and s.renewed_at > now() - @alive::text::interval),
			pass as (
				insert into stark.relay_passes (secret_hash, server_id, node_id, pod_id, expires_at)
				select @hash, t.id, @node, @pod, now() + @ttl::text::interval from target t
				on conflict (secret_hash) do nothing)
			select t.address from target t`, pgx.StrictNamedArgs{
			"node": nodeID, "pod": podID, "me": db.serverID, "hash": HashSecret(p.Secret),
			"ttl": relayPassTTL.String(), "alive": serverTTL.String(),
		}).Query(one(&p.Address, scanText))
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return RelayPass{}, fault.New(fault.Unavailable, "the pod's node is not connected")
	}
	return p, err
}

// RedeemRelayPass uses up a pass that was made out for this server, and gives what it
// is good for.
func (db *DB) RedeemRelayPass(ctx context.Context, secret string) (RelayTarget, error) {
	var t RelayTarget
	err := db.write(ctx, "redeem relay pass", service, func(b *pgx.Batch) {
		b.Queue(`delete from stark.relay_passes p
			where p.secret_hash = $1 and p.server_id = $2 and p.expires_at > now()
			returning p.node_id::text, p.pod_id::text`, HashSecret(secret), db.serverID).
			Query(one(&t, func(row pgx.CollectableRow) (t RelayTarget, err error) {
				err = row.Scan(&t.NodeID, &t.PodID)
				return t, err
			}))
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return RelayTarget{}, fault.New(fault.TokenInvalid, "the pass is unknown, used up, expired, or for another server")
	}
	return t, err
}
