package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A list of pods needs of Postgres who may see them, their order and how many there
// are; what stands in them the read model holds already, and it finds them by their
// labels, for which no index serves under row level security: its operators may leak.
//
// So Postgres is asked, as the user, for the ids and versions of a page among the pods
// that the read model names, and among all that have changed since the read model was
// read, which the same snapshot of the change log tells. A pod that has not changed
// since is what the read model says; the others are read whole in that snapshot. The
// answer is the one that a list of the rows would give, also of what the caller has
// written a moment ago, however far the read model is behind. Where that cannot be
// shown, the rows are listed.
const (
	// maxCandidates bounds the pods that Postgres is given by name: to look each of many
	// up takes longer than to look through all.
	maxCandidates = 1000
	// maxUnseen bounds the pods that have changed since the read model was read.
	maxUnseen = 500
)

// unseenSQL reads the log as changesSQL does, for a reader that needs no more than the
// ids of pods. They stay in a setting of the transaction, for what follows as the user,
// who must not see them.
const unseenSQL = `with unseen as materialized (
		select distinct c.id from stark.changes c
		where c.kind = '` + kindPod + `' and c.xid >= pg_snapshot_xmin($1::text::pg_snapshot)
		  and not pg_visible_in_snapshot(c.xid, $1::text::pg_snapshot) limit $2)
	select pg_current_snapshot()::text, ` + positionSQL + `, pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax($1::text::pg_snapshot),
		(select count(*) from unseen u), set_config('stark.unseen', '{' || coalesce((select string_agg(u.id, ',') from unseen u), '') || '}', true)`

// unseenIDs is what unseenSQL has found, as a value.
const unseenIDs = `current_setting('stark.unseen')::uuid[]`

// unseenPodsSQL reads the pods that the read model may hold in an older version.
const unseenPodsSQL = "select " + podColumns + " from public.pods p where p.id = any ((select " + unseenIDs + ")::uuid[])"

// candidatesSQL bounds a list to pods that are named and those that have changed.
const candidatesSQL = "p.id = any ((select @candidates::text[]::uuid[] || " + unseenIDs + ")::uuid[])"

// recollection is the read model of pods as it was at one moment.
type recollection struct {
	view store.View[api.Pod]
	at   position
}

// recollect gives the read model, if it is known to hold every pod as it was.
func (db *DB) recollect() (recollection, bool) {
	// A pooler gives another connection for each transaction, and so no word of crashes.
	if db.model == nil || db.pooled.Load() || db.away.Load() {
		return recollection{}, false
	}
	view := db.model.Pods.Snapshot()
	if view.At().IsZero() || db.unread.any() { // in this order: the feed counts what is unread before it shows the rest
		return recollection{}, false
	}
	at, err := parsePosition(view.Cursor())
	return recollection{view: view, at: at}, err == nil
}

// holds reports whether what the read model says of pods is still true of those that
// have not changed since.
func (r recollection) holds(now position, rewound bool) bool {
	return now.born == r.at.born && !rewound && now.at-r.at.at <= resumeWithin.Milliseconds()
}

// vouches reports whether the database cannot have crashed since the read model was
// read: every connection ends with it, and this one is older. Without such word a
// version says nothing: after a crash the ids of transactions are given out again.
func (r recollection) vouches(conn *pgx.Conn) bool {
	since, ok := conn.PgConn().CustomData()[connectedAt].(time.Time)
	return ok && since.Before(r.view.At())
}

// candidates are the pods among which those are that a selector selects, if they are few.
func (r recollection) candidates(s api.Selector) ([]string, bool) {
	var least store.Labelled
	found := false
	for _, req := range s {
		if req.Operator != api.OpIn {
			continue
		}
		if l := r.view.Labelled(req.Key, req.Values...); !found || l.Len() < least.Len() {
			least, found = l, true
		}
	}
	if !found || least.Len() > maxCandidates {
		return nil, false
	}
	return slices.Collect(least.All()), true
}

// podKey is what Postgres says of a pod on a page, and what the user may see of others
// in it.
type podKey struct {
	id, version, nodeName string
	nextVersion           *string
	total                 int
}

func scanPodKey(row pgx.CollectableRow) (podKey, error) {
	var k podKey
	err := row.Scan(&k.id, &k.version, &k.nodeName, &k.nextVersion, &k.total)
	return k, err
}

// of gives the pod, if this is the version of it that is wanted.
func (k podKey) of(p api.Pod) (api.Pod, bool) {
	if p.ID != k.id || p.ResourceVersion != k.version {
		return p, false
	}
	p.NodeName = k.nodeName
	if p.Rollout != nil && p.Rollout.PackVersion != textOf(k.nextVersion) {
		rollout := *p.Rollout
		rollout.PackVersion = textOf(k.nextVersion)
		p.Rollout = &rollout
	}
	return p, true
}

// recalled is the answer of Postgres to a list that the read model helps with.
type recalled struct {
	at      position
	rewound bool
	unseen  int
	keys    []podKey
	changed []api.Pod // as they are now
	sound   bool      // there was a connection that vouches
}

// recallPods lists pods with the help of the read model, and reports whether it could.
func (db *DB) recallPods(ctx context.Context, id access.Identity, q api.PodQuery, w where, s api.Selector) (page api.Page[api.Pod], ok bool, err error) {
	model, ok := db.recollect()
	if !ok {
		return page, false, nil
	}
	if named, ok := model.candidates(s); ok {
		w = w.with(candidatesSQL, "candidates", named)
	}
	d, err := userDoor(id)
	if err != nil {
		return page, false, err
	}
	got, err := db.recallKeys(ctx, d, model, w, q.PageQuery)
	code := fault.CodeOf(err)
	switch {
	case code == fault.Unavailable || code == fault.Timeout || ctx.Err() != nil: // nor would a list of rows be answered
		return page, false, err
	case code != "": // whatever it is, a list of rows says it better
		return page, false, nil
	case !got.sound || !model.holds(got.at, got.rewound) || got.unseen > maxUnseen:
		return page, false, nil
	}
	page, ok = model.page(got)
	page.Page, page.PageSize = q.Page, q.PageSize
	return page, ok && (len(got.keys) > 0 || q.Offset() == 0), nil // beyond the last page nothing tells how many there are
}

// recallKeys asks in one round trip and one snapshot.
func (db *DB) recallKeys(ctx context.Context, d door, model recollection, w where, q api.PageQuery) (got recalled, err error) {
	page := pageSQL("p.id, p.xmin::text as version, p.node_id, p.next_pack_id, p.created_at, count(*) over () as total", "public.pods p", podOrder, w, q.Limit(), q.Offset())
	keysSQL := `select f.id::text, f.version, coalesce((select n.name from public.nodes n where n.id = f.node_id), ''),
		(select x.version from public.packs x where x.id = f.next_pack_id), f.total from (` + page + `) f order by f.created_at desc, f.id`
	err = db.retry(ctx, "list pods", db.patience(d, readTimeout), true, func(ctx context.Context, conn *pgx.Conn) error {
		got = recalled{sound: model.vouches(conn)}
		if !got.sound {
			db.refresh()
			return nil
		}
		t := &tx{conn: conn, batch: &pgx.Batch{}}
		t.Queue("begin isolation level repeatable read read only")
		t.Queue(db.settings(), service.settings()...)
		t.Queue(unseenSQL, model.at.snap, maxUnseen+1).
			QueryRow(func(row pgx.Row) error {
				return row.Scan(&got.at.snap, &got.at.at, &got.at.born, &got.rewound, &got.unseen, nil)
			})
		t.Queue(db.settings(), d.settings()...)
		t.Queue(keysSQL, w.arguments()...).Query(all(&got.keys, scanPodKey))
		t.Queue(unseenPodsSQL).Query(all(&got.changed, scanPod))
		t.Queue("commit")
		err := t.flush(ctx)
		if err != nil {
			t.rollback(ctx)
		}
		return err
	})
	return got, err
}

// page puts the pods to their keys. It fails where a pod is neither what the read model
// says nor among those that have changed, which must not be.
func (r recollection) page(got recalled) (api.Page[api.Pod], bool) {
	page := api.Page[api.Pod]{Items: make([]api.Pod, 0, len(got.keys)), Cursor: got.at.String()}
	changed := make(map[string]api.Pod, len(got.changed))
	for _, p := range got.changed {
		changed[p.ID] = p
	}
	for _, k := range got.keys {
		p, ok := changed[k.id]
		if !ok {
			if p, ok = r.view.Get(k.id); ok {
				p, ok = k.of(p)
			}
		}
		if !ok {
			return page, false
		}
		page.Items, page.Total = append(page.Items, p), k.total
	}
	return page, true
}
