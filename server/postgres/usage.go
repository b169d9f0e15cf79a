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

// shownSQL is a statement that gives the rows of another, which the caller may see, each
// with its number, and notes for the rest of the transaction of which nodes they tell: node
// is the column with the id of the node.
func shownSQL(sql, node string) string {
	return "with found as materialized (select f.*, row_number() over () as nth from (" + sql + `) f),
		noted as materialized (select set_config('stark.shown', coalesce(string_agg(distinct f.` + node + `, ','), ''), true) from found f)
		select found.* from found, noted order by found.nth`
}

// shown reads a row of shownSQL without its number.
func shown[T any](scan pgx.RowToFunc[T]) pgx.RowToFunc[T] {
	return func(row pgx.CollectableRow) (T, error) { return scan(withTotal{row, new(int)}) }
}

// queueTold queues the reading of figures as the service, behind a statement by shownSQL
// that has been sent as the caller: both leave in one round trip.
func (db *DB) queueTold(b *pgx.Batch, into *[]told) {
	b.Queue(db.settings(), service.settings()...)
	b.Queue(`select u.node_id::text, u.at, u.usage from stark.node_usage u
		where u.node_id = any (string_to_array(current_setting('stark.shown', true), ',')::uuid[]) and ` + freshSQL).
		Query(all(into, scanTold))
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
	var figures []told
	err := db.readAs(ctx, "pod usage", id, func(b *pgx.Batch) {
		w.query(b, shownSQL(`select p.id::text as pod, p.pack_name, p.pack_version, p.namespace, p.status::text,
				n.id::text as node, n.name, p.incarnation, p.resource_requests, p.resource_limits
			from public.pods p join public.nodes n on n.id = p.node_id`+w.sql()+`
			order by p.created_at desc, p.id limit `+strconv.Itoa(api.MaxFigures), "node")).
			Query(all(&found, shown(scanPodFigures)))
		db.queueTold(b, &figures)
	})
	join(found, figures)
	return found, err
}

// PodStatus gives a pod that the caller may see and what it uses now, nil where its node
// has told nothing of it lately.
func (db *DB) PodStatus(ctx context.Context, id access.Identity, podID string) (api.Pod, *api.Figures, error) {
	var p api.Pod
	var figures []told
	if err := checkID(podID, "pod"); err != nil {
		return p, nil, err
	}
	err := db.readAs(ctx, "pod status", id, func(b *pgx.Batch) {
		b.Queue("select "+podColumns+" from public.pods p where p.id = $1", podID).Query(one(&p, scanPod))
		b.Queue(db.settings(), service.settings()...)
		b.Queue(`select u.node_id::text, u.at, u.usage from stark.node_usage u join public.pods p on p.node_id = u.node_id
			where p.id = $1 and p.status in ('starting', 'running', 'stopping') and `+freshSQL, podID).Query(all(&figures, scanTold))
	})
	if err != nil || p.NodeID == nil {
		return p, nil, notFound(err, "pod")
	}
	found := []api.PodFigures{{PodID: p.ID, NodeID: *p.NodeID, Incarnation: p.Incarnation}}
	join(found, figures)
	return p, found[0].Usage, nil
}

func scanPodFigures(row pgx.CollectableRow) (api.PodFigures, error) {
	var f api.PodFigures
	err := row.Scan(&f.PodID, &f.PackName, &f.PackVersion, &f.Namespace, &f.Status, &f.NodeID, &f.NodeName, &f.Incarnation,
		&f.ResourceRequests, &f.ResourceLimits)
	return f, err
}

// join gives each pod what its own node has told of its present incarnation.
func join(pods []api.PodFigures, all []told) {
	type key struct {
		node, pod   string
		incarnation int
	}
	figures := map[key]*api.Figures{}
	for _, t := range all {
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
	var figures []told
	err := db.readAs(ctx, "node usage", id, func(b *pgx.Batch) {
		w.query(b, shownSQL(`select n.id::text as node, n.name, n.status::text, n.runtime_type::text, n.allocatable
			from public.nodes n`+w.sql()+` order by n.name limit `+strconv.Itoa(api.MaxFigures), "node")).
			Query(all(&found, shown(scanNodeFigures)))
		db.queueTold(b, &figures)
	})
	by := make(map[string]told, len(figures))
	for _, t := range figures {
		by[t.node] = t
	}
	for i := range found {
		if t, ok := by[found[i].NodeID]; ok {
			found[i].Usage = t.figures()
		}
	}
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
