package server

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/relay"
	"github.com/stark-orchestrator/stark/server/storage"
	"github.com/stark-orchestrator/stark/shared/api"
)

// dispatchDB is the database as the dispatcher declares it.
type dispatchDB struct{ *postgres.DB }

// RegisterNode implements dispatch.Nodes.
func (d dispatchDB) RegisterNode(ctx context.Context, r dispatch.Registrar, req api.RegisterNodeRequest, m dispatch.Meta) (dispatch.Registration, error) {
	reg, err := d.DB.RegisterNode(ctx, postgres.Registrar(r), req, postgres.RegisterMeta(m))
	return dispatch.Registration(reg), err
}

// StoreHealth implements dispatch.Nodes.
func (d dispatchDB) StoreHealth(ctx context.Context, all []dispatch.NodeHealth) error {
	rows := make([]postgres.NodeHealth, len(all))
	for i, h := range all {
		rows[i] = postgres.NodeHealth(h)
	}
	return d.DB.StoreHealth(ctx, rows)
}

// StoreCheckpoints implements dispatch.Nodes.
func (d dispatchDB) StoreCheckpoints(ctx context.Context, all []dispatch.NodeCheckpoint) error {
	rows := make([]postgres.NodeCheckpoint, len(all))
	for i, c := range all {
		rows[i] = postgres.NodeCheckpoint(c)
	}
	return d.DB.StoreCheckpoints(ctx, rows)
}

// NodeByCredential implements dispatch.Credentials.
func (d dispatchDB) NodeByCredential(ctx context.Context, secret string) (dispatch.Credential, error) {
	c, err := d.DB.NodeByCredential(ctx, secret)
	return dispatch.Credential(c), err
}

// relayDB is the database as the relay declares it.
type relayDB struct{ *postgres.DB }

// RelayPass implements relay.Database.
func (r relayDB) RelayPass(ctx context.Context, nodeID, podID string) (relay.Pass, error) {
	p, err := r.DB.RelayPass(ctx, nodeID, podID)
	return relay.Pass(p), err
}

// RedeemRelayPass implements relay.Database.
func (r relayDB) RedeemRelayPass(ctx context.Context, secret string) (relay.Target, error) {
	t, err := r.DB.RedeemRelayPass(ctx, secret)
	return relay.Target(t), err
}

// upkeep is the database as the leader's loops declare it.
type upkeep struct{ db *postgres.DB }

// Sweep implements control.Upkeep.
func (u upkeep) Sweep(ctx context.Context) (int, error) {
	r, err := u.db.SweepNodes(ctx)
	return len(r.Suspect) + len(r.Unhealthy) + len(r.Offline) + len(r.PodsUnknown) + len(r.PodsMoved) + len(r.PodsEnded) + len(r.RolloutsEnded), err
}

// Tend implements control.Upkeep. What one part cannot do now does not stop the others.
func (u upkeep) Tend(ctx context.Context) (int, error) {
	told, evicting := u.db.EvictIntolerant(ctx)
	drains, draining := u.db.AdvanceDrains(ctx)
	namespaces, ending := u.db.EndNamespaces(ctx)
	return len(told) + len(drains.Told) + len(drains.Finished) + namespaces, errors.Join(evicting, draining, ending)
}

// TellOverdueStops implements control.Upkeep.
func (u upkeep) TellOverdueStops(ctx context.Context, pods []api.Pod) ([]string, error) {
	return u.db.TellOverdueStops(ctx, pods)
}

// Compact implements control.Upkeep.
func (u upkeep) Compact(ctx context.Context) error {
	_, err := u.db.Compact(ctx)
	return err
}

// publicBundles signs addresses that agents and users reach: they need not share the
// server's network.
type publicBundles struct {
	*storage.Client
	inner, outer string
}

// SignedURL implements dispatch.Signer and rest.BundleStore.
func (p publicBundles) SignedURL(ctx context.Context, path string, ttl time.Duration) (string, time.Time, error) {
	address, expires, err := p.Client.SignedURL(ctx, path, ttl)
	if rest, ok := strings.CutPrefix(address, p.inner); ok {
		address = p.outer + rest
	}
	return address, expires, err
}
