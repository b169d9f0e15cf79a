package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// freshSQL leaves out figures that are too old to be of now: three heartbeats, and at
// least a minute, so that one which is late does not empty the table.
const freshSQL = `u.at > now() - greatest(interval '1 minute',
	3 * (select c.heartbeat_interval_ms from public.cluster_config c) * interval '1 millisecond')`

// told is what a node has told of itself and its pods.
type told struct {
	node  string
	at    time.Time
	usage api.NodeUsage
}

func scanTold(row pgx.CollectableRow) (told, error) {
	var t told
	err := row.Scan(&t.node, &t.at, &t.usage)
	return t, err
}

// readTold reads figures as the service, after the caller's own reads have said whose.
func (db *DB) readTold(ctx context.Context, tx Tx, nodes []string) (map[string]told, error) {
	var rows []told
	tx.Queue(db.settings(), service.settings()...)
	err := tx.Query(ctx, all(&rows, scanTold), `select u.node_id::text, u.at, u.usage from stark.node_usage u
		where u.node_id = any ($1::text[]::uuid[]) and `+freshSQL, nodes)
	by := make(map[string]told, len(rows))
	for _, t := range rows {
		by[t.node] = t
	}
	return by, err
}

// PodUsage gives what the pods use that run and that the caller may see, at most
// api.MaxFigures of them, the newest. Which pods these are is read as the caller;
// figures that a node tells of pods it does not have count for nothing. The query
// must be valid.
func (db *DB) PodUsage(ctx context.Context, id access.Identity, q api.UsageQuery) ([]api.PodFigures, error) {
	w := where{conditions: []string{"p.status in ('starting', 'running', 'stopping')"}}
	if q.Namespace != "" {
		w.and("p.namespace = @namespace", "namespace", q.Namespace)
	}
	if q.PodID != "" {
		w.and("p.id = @pod::text::uuid", "pod", q.PodID)
	}
	if q.NodeID != "" {
		w.and("p.node_id = @node::text::uuid", "node", q.NodeID)
	}
	if _, err := w.labels("p.labels", q.LabelSelector); err != nil {
		return nil, err
	}
	var found []api.PodFigures
	err := db.AsUser(ctx, id, func(tx Tx) error {
		found = nil
		err := tx.Query(ctx, all(&found, scanPodFigures), `select p.id::text, p.pack_name, p.pack_version, p.namespace, p.status::text,
				n.id::text, n.name, p.incarnation, p.resource_requests, p.resource_limits
			from public.pods p join public.nodes n on n.id = p.node_id`+w.sql()+`
			order by p.created_at desc, p.id limit `+strconv.Itoa(api.MaxFigures), w.arguments()...)
		if err != nil || len(found) == 0 {
			return err
		}
		nodes, seen := []string{}, map[string]bool{}
		for _, f := range found {
			if !seen[f.NodeID] {
				nodes, seen[f.NodeID] = append(nodes, f.NodeID), true
			}
		}
		by, err := db.readTold(ctx, tx, nodes)
		join(found, by)
		return err
	})
	return found, err
}

func scanPodFigures(row pgx.CollectableRow) (api.PodFigures, error) {
	var f api.PodFigures
	err := row.Scan(&f.PodID, &f.PackName, &f.PackVersion, &f.Namespace, &f.Status, &f.NodeID, &f.NodeName, &f.Incarnation,
		&f.ResourceRequests, &f.ResourceLimits)
	return f, err
}

// join gives each pod what its own node has told of its present incarnation.
func join(pods []api.PodFigures, by map[string]told) {
	type key struct {
		node, pod   string
		incarnation int
	}
	figures := map[key]*api.Figures{}
	for _, t := range by {
		for _, p := range t.usage.Pods {
			figures[key{t.node, p.PodID, p.Incarnation}] = &api.Figures{CPU: p.CPU, Memory: p.Memory, LoopDelayMS: p.LoopDelayMS, At: t.at}
		}
	}
	for i := range pods {
		p := &pods[i]
		p.Usage = figures[key{p.NodeID, p.PodID, p.Incarnation}]
	}
}

// NodeUsage gives what the machines of the nodes use that are there and that the
// caller may see, at most api.MaxFigures of them, by name. The query must be valid;
// namespace and pod mean nothing here.
func (db *DB) NodeUsage(ctx context.Context, id access.Identity, q api.UsageQuery) ([]api.NodeFigures, error) {
	w := where{conditions: []string{"n.status <> 'offline'"}}
	if q.NodeID != "" {
		w.and("n.id = @node::text::uuid", "node", q.NodeID)
	}
	if _, err := w.labels("n.labels", q.LabelSelector); err != nil {
		return nil, err
	}
	var found []api.NodeFigures
	err := db.AsUser(ctx, id, func(tx Tx) error {
		found = nil
		err := tx.Query(ctx, all(&found, scanNodeFigures), `select n.id::text, n.name, n.status::text, n.runtime_type::text, n.allocatable
			from public.nodes n`+w.sql()+` order by n.name limit `+strconv.Itoa(api.MaxFigures), w.arguments()...)
		if err != nil || len(found) == 0 {
			return err
		}
		nodes := make([]string, len(found))
		for i, f := range found {
			nodes[i] = f.NodeID
		}
		by, err := db.readTold(ctx, tx, nodes)
		for i := range found {
			if t, ok := by[found[i].NodeID]; ok {
				found[i].Usage = t.figures()
			}
		}
		return err
	})
	return found, err
}

func (t told) figures() *api.Figures {
	f := &api.Figures{CPU: t.usage.CPU, Memory: t.usage.Memory, At: t.at}
	for _, p := range t.usage.Pods {
		f.LoopDelayMS = max(f.LoopDelayMS, p.LoopDelayMS)
	}
	return f
}

func scanNodeFigures(row pgx.CollectableRow) (api.NodeFigures, error) {
	var f api.NodeFigures
	err := row.Scan(&f.NodeID, &f.NodeName, &f.Status, &f.RuntimeType, &f.Allocatable)
	return f, err
}
