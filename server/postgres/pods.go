package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// ListPods gives a page of the pods that the caller may see, newest first. What they
// refer to may be shared with another answer and must not be changed.
func (db *DB) ListPods(ctx context.Context, id access.Identity, q api.PodQuery) (api.Page[api.Pod], error) {
	w := where{}
	if q.Namespace != "" {
		w.and("p.namespace = @namespace", "namespace", q.Namespace)
	}
	if q.PackID != "" {
		w.and("p.pack_id::text = @pack", "pack", q.PackID)
	}
	if q.PackName != "" {
		w.and("p.pack_name = @packName", "packName", q.PackName)
	}
	if q.NodeID != "" {
		w.and("p.node_id::text = @node", "node", q.NodeID)
	}
	if q.Status != "" {
		w.and("p.status::text = @status", "status", string(q.Status))
	}
	selector, err := w.labels("p.labels", q.LabelSelector)
	if err != nil {
		return api.Page[api.Pod]{}, err
	}
	q.PageQuery = q.Normalize()
	if page, ok, err := db.recallPods(ctx, id, q, w, selector); ok || err != nil {
		return page, err
	}
	return paged(ctx, db, id, q.PageQuery, listing[api.Pod]{
		op: "list pods", columns: podColumns, from: "public.pods p", order: podOrder, where: w, scan: scanPod,
	})
}

// podOrder is newest first.
const podOrder = "p.created_at desc, p.id"

// endedSQL lists the terminal statuses.
const endedSQL = "('succeeded', 'stopped', 'failed', 'evicted')"

// StopPod is DELETE: a live pod is asked to stop, an ended one is purged.
// Asking again changes nothing.
func (db *DB) StopPod(ctx context.Context, id access.Identity, podID string) (pod api.Pod, purged bool, err error) {
	if err := checkID(podID, "pod"); err != nil {
		return pod, false, err
	}
	var s stopOutcome
	if err := db.changeAs(ctx, "stop pod", id, kindPod, podID, func(b *pgx.Batch) { s.queue(b, podID) }); err != nil {
		return pod, false, err
	}
	return s.result()
}

// stopOutcome is what has become of a pod that was to stop.
type stopOutcome struct {
	seen                    bool
	deleted, stopped, ended []api.Pod
}

// queue adds the stop of a pod to what a user's transaction sends.
func (s *stopOutcome) queue(q queuer, podID string) {
	q.Queue("select exists (select from public.pods where id = $1)", podID).Query(one(&s.seen, scanBool))
	// First the purge: what the second statement ends at once must stay readable.
	q.Queue("delete from public.pods p where p.id = $1 and p.status in "+endedSQL+" returning "+podColumns, podID).
		Query(all(&s.deleted, scanPod))
	q.Queue("update public.pods p set stop_requested_at = now() where p.id = $1 and p.status not in "+endedSQL+" returning "+podColumns, podID).
		Query(all(&s.stopped, scanPod))
	// One that ended while the second statement waited for it; locking it takes the right to stop it.
	q.Queue("select "+podColumns+" from public.pods p where p.id = $1 and p.status in "+endedSQL+" for update", podID).
		Query(all(&s.ended, scanPod))
}

func (s *stopOutcome) result() (pod api.Pod, purged bool, err error) {
	switch {
	case len(s.deleted) > 0:
		return s.deleted[0], true, nil
	case len(s.stopped) > 0:
		return s.stopped[0], false, nil
	case len(s.ended) > 0:
		return s.ended[0], false, nil
	case s.seen:
		return pod, false, fault.New(fault.Forbidden, "you may not stop this pod")
	default:
		return pod, false, fault.New(fault.NotFound, "pod not found")
	}
}

// UpdatePod changes labels and annotations of a pod.
func (db *DB) UpdatePod(ctx context.Context, id access.Identity, podID string, r api.UpdatePodRequest) (api.Pod, error) {
	var p api.Pod
	if err := checkID(podID, "pod"); err != nil {
		return p, err
	}
	labels, err := jsonText(r.Labels)
	if err != nil {
		return p, err
	}
	annotations, err := jsonText(r.Annotations)
	if err != nil {
		return p, err
	}
	err = db.changeOwn(ctx, "update pod", id, "pod", podID, "select exists (select from public.pods where id = $1)", func(b *pgx.Batch) {
		b.Queue(`update public.pods p set labels = coalesce($2::text::jsonb, p.labels), annotations = coalesce($3::text::jsonb, p.annotations)
			where p.id = $1 returning `+podColumns, podID, labels, annotations).Query(one(&p, scanPod))
	})
	return p, err
}

// PodHistory gives what happened to a pod, newest first; it outlives the pod.
// Limit is clamped to 1 to 1000, default 100.
func (db *DB) PodHistory(ctx context.Context, id access.Identity, podID string, limit, offset int) ([]api.PodHistoryEntry, error) {
	const usual, most = 100, 1000
	if err := checkID(podID, "pod"); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = usual
	}
	var known bool
	entries := []api.PodHistoryEntry{}
	err := db.readAs(ctx, "pod history", id, func(b *pgx.Batch) {
		b.Queue("select exists (select from public.pod_history where pod_id = $1)", podID).Query(one(&known, scanBool))
		b.Queue(`select h.id::text, h.pod_id::text, h.action::text, coalesce(h.actor_id::text, ''),
				coalesce(h.previous_status::text, ''), coalesce(h.new_status::text, ''),
				coalesce(h.previous_version, ''), coalesce(h.new_version, ''),
				coalesce(h.previous_node_id::text, ''), coalesce(h.new_node_id::text, ''),
				h.incarnation, coalesce(h.attempt, 0), coalesce(h.reason, ''), coalesce(h.message, ''), h.metadata, h.created_at
			from public.pod_history h where h.pod_id = $1 order by h.created_at desc, h.id limit $2 offset $3`,
			podID, min(limit, most), max(offset, 0)).Query(all(&entries, scanHistory))
	})
	if err == nil && !known {
		return nil, fault.New(fault.NotFound, "pod not found")
	}
	return entries, err
}

func scanHistory(row pgx.CollectableRow) (api.PodHistoryEntry, error) {
	var h api.PodHistoryEntry
	err := row.Scan(&h.ID, &h.PodID, &h.Action, &h.ActorID, &h.PreviousStatus, &h.NewStatus,
		&h.PreviousVersion, &h.NewVersion, &h.PreviousNodeID, &h.NewNodeID,
		&h.Incarnation, &h.Attempt, &h.Reason, &h.Message, &h.Metadata, &h.Timestamp)
	return h, err
}

// PodRuns gives the runs of a pod, newest first.
func (db *DB) PodRuns(ctx context.Context, id access.Identity, podID string) ([]api.Run, error) {
	if err := checkID(podID, "pod"); err != nil {
		return nil, err
	}
	var seen bool
	runs := []api.Run{}
	err := db.readAs(ctx, "pod runs", id, func(b *pgx.Batch) {
		b.Queue("select exists (select from public.pods where id = $1)", podID).Query(one(&seen, scanBool))
		b.Queue("select "+runColumns+` from public.pod_runs r where r.pod_id = $1
			order by r.incarnation desc, r.attempt desc limit 1000`, podID).Query(all(&runs, scanRun))
	})
	if err == nil && !seen {
		return nil, fault.New(fault.NotFound, "pod not found")
	}
	return runs, err
}

// Verdict tells why a pod has no node, nil when nothing is known. Whether the
// caller may ask is decided as the caller, the answer is read as service_role.
func (db *DB) Verdict(ctx context.Context, id access.Identity, podID string) (*api.Verdict, error) {
	if err := checkID(podID, "pod"); err != nil {
		return nil, err
	}
	var seen bool
	var found []api.Verdict
	err := db.readAs(ctx, "verdict", id, func(b *pgx.Batch) {
		b.Queue("select exists (select from public.pods where id = $1)", podID).Query(one(&seen, scanBool))
		b.Queue(db.settings(), service.settings()...)
		b.Queue("select v.pod_id::text, v.reason, v.message, v.nodes, v.plan_time, v.change from stark.verdicts v where v.pod_id = $1", podID).
			Query(all(&found, func(row pgx.CollectableRow) (api.Verdict, error) {
				var v api.Verdict
				err := row.Scan(&v.PodID, &v.Reason, &v.Message, &v.Nodes, &v.PlanTime, &v.Change)
				return v, err
			}))
	})
	switch {
	case err != nil:
		return nil, err
	case !seen:
		return nil, fault.New(fault.NotFound, "pod not found")
	case len(found) == 0:
		return nil, nil //nolint:nilnil // the pod exists and there is nothing to explain
	default:
		return &found[0], nil
	}
}
