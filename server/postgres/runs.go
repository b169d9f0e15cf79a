package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// wantedSQL lists what a node should hold, with the highest attempt that is
// known to have started.
const wantedSQL = "select " + podColumns + `,
		coalesce((select max(r.attempt) from public.pod_runs r
			where r.pod_id = p.id and r.incarnation = w.incarnation and r.status <> 'assigned'), 0),
		k.format, coalesce(k.bundle_sha256, ''), k.bundle_size, k.metadata, k.id::text, k.version, k.runtime_tag::text, w.next, p.node_id::text
	from public.pods p
		cross join lateral (
			select p.pack_id as pack_id, p.incarnation as incarnation, false as next
			union all
			select p.next_pack_id, p.next_incarnation, true where p.next_pack_id is not null) w
		join public.packs k on k.id = w.pack_id
	where p.node_id = any ($1::text[]::uuid[]) and p.status in ('scheduled', 'starting', 'running', 'stopping', 'unknown')
	order by p.id, w.incarnation`

// wantedOf is the wanted set of one node.
type wantedOf struct {
	node string
	runs []wire.Assignment
	err  error
}

// maxWanted bounds how many wanted sets are read by one statement: a full one is large.
const maxWanted = 32

// Wanted gives the complete wanted set of a node. It is read after the call, maybe
// together with those of others.
func (db *DB) Wanted(ctx context.Context, nodeID string) ([]wire.Assignment, error) {
	if err := checkID(nodeID, "node"); err != nil {
		return nil, err
	}
	w := &wantedOf{node: strings.ToLower(nodeID)}
	if err := db.wanted.do(ctx, w); err != nil {
		return nil, toFault("wanted set", err)
	}
	return w.runs, w.err
}

// readWanted answers a group of Wanted. If that fails for what may be one of the rows it
// finds out by halves for whom.
func (db *DB) readWanted(ctx context.Context, group []*wantedOf) {
	ids := make([]string, len(group))
	for i, w := range group {
		ids[i] = w.node
	}
	var rows []nodeAssignment
	err := db.read(ctx, "wanted set", service, func(b *pgx.Batch) {
		b.Queue(wantedSQL, ids).Query(all(&rows, scanAssignment))
	})
	if err != nil && len(group) > 1 && refusesRow(err) {
		db.readWanted(ctx, group[:len(group)/2])
		db.readWanted(ctx, group[len(group)/2:])
		return
	}
	of := make(map[string][]wire.Assignment, len(group))
	for _, r := range rows {
		of[r.node] = append(of[r.node], r.Assignment)
	}
	for _, w := range group {
		if w.err = err; err == nil {
			w.runs = orNone(of[w.node])
		}
	}
}

// nodeAssignment is what is wanted on a node.
type nodeAssignment struct {
	wire.Assignment
	node string
}

// splitRow scans the columns of a pod and then further ones.
type splitRow struct {
	pgx.CollectableRow
	more []any
}

// Scan appends the further destinations.
func (r splitRow) Scan(dest ...any) error { return r.CollectableRow.Scan(append(dest, r.more...)...) }

func scanAssignment(row pgx.CollectableRow) (nodeAssignment, error) {
	var a nodeAssignment
	var k api.Pack
	var next bool
	p, err := scanPod(splitRow{row, []any{
		&a.LastAttempt, &k.Format, &k.BundleSHA256, &k.BundleSize, &k.Metadata, &k.ID, &k.Version, &k.RuntimeTag, &next, &a.node,
	}})
	if err != nil {
		return a, err
	}
	if next {
		p = pod.Next(p, k)
	}
	a.PodID, a.Incarnation, a.Desire = p.ID, p.Incarnation, wire.DesireRun
	if p.Status == api.PodStopping || p.StopRequestedAt != nil || p.Eviction != nil {
		a.Desire, a.StopReason = wire.DesireStop, pod.StopReason(p)
	}
	a.Pod = pod.Spec(p, k)
	return a, nil
}

// BundleFor gives the pack of a pod that this node should run now.
func (db *DB) BundleFor(ctx context.Context, nodeID, podID string, incarnation int) (api.Pack, error) {
	var k api.Pack
	if !api.ValidID(nodeID) || !api.ValidID(podID) {
		return k, fault.New(fault.NotFound, "pod not found")
	}
	err := db.read(ctx, "bundle for node", service, func(b *pgx.Batch) {
		b.Queue("select "+packColumns+` from public.packs k join public.pods p
				on (k.id, $3) in ((p.pack_id, p.incarnation), (p.next_pack_id, p.next_incarnation))
			where p.id = $1 and p.node_id = $2 and k.status = 'ready'
				and p.status in ('scheduled', 'starting', 'running', 'stopping', 'unknown')`,
			podID, nodeID, incarnation).Query(one(&k, scanPack))
	})
	if fault.CodeOf(err) == fault.NotFound {
		return k, fault.Wrap(err, fault.Stale, "this node does not run incarnation %d of the pod", incarnation)
	}
	return k, err
}

// maxReports bounds one call.
const maxReports = 1000

// ReportRuns stores what became of runs, in one transaction, maybe together with those of
// other nodes. Each report is
// taken or refused by itself: a node speaks for its own runs only, a run moves
// forward only, and news of an older incarnation or attempt leaves the pod as it
// is. The same report again is accepted and changes nothing.
func (db *DB) ReportRuns(ctx context.Context, nodeID string, reports []wire.RunReport) (accepted []api.RunKey, refused []wire.Refusal, err error) {
	if err := checkID(nodeID, "node"); err != nil {
		return nil, nil, err
	}
	if len(reports) > maxReports {
		return nil, nil, fault.New(fault.Validation, "%d reports at once, the most is %d", len(reports), maxReports)
	}
	if len(reports) == 0 {
		return nil, nil, nil
	}
	c := &reporting{node: nodeID, reports: reports, pods: podIDs(reports)}
	if len(reports) > fewReports {
		c.lacks = lacksPod // and waits for none of its own beside others
	} else if err := db.reports.do(ctx, c); err != nil {
		return nil, nil, toFault("report runs", err)
	}
	if c.lacks == lacksNamespace {
		if err := db.reportsCounted.do(ctx, c); err != nil {
			return nil, nil, toFault("report runs", err)
		}
	}
	if c.lacks == lacksPod {
		if err := db.reportsHeld.do(ctx, c); err != nil {
			return nil, nil, toFault("report runs", err)
		}
	}
	return c.accepted, c.refused, c.err
}
