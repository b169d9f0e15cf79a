package postgres

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	// maxReporting bounds the nodes whose reports share a transaction, which locks their pods.
	maxReporting = 64
	// fewReports bounds the reports of one node that share it with those of others. After a
	// time apart a node may tell of very many.
	fewReports = 32
)

// reporting are the reports of one node, and what becomes of them. Pods of a crowd start on
// many nodes at once, each of which tells of a few: a transaction each would have to wait for
// the disk for each of them.
type reporting struct {
	node    string
	reports []wire.RunReport
	pods    []string // of the reports

	accepted []api.RunKey
	refused  []wire.Refusal
	err      error
	lacks    lack
}

// lack is what a node's reports could not be stored for, since nobody was to wait for it.
type lack int

const (
	lacksNothing   lack = iota
	lacksNamespace      // somebody else holds one in which a pod ends, which counts there no more
	lacksPod            // somebody else holds one of the pods
)

// reportAll serves a group. Two nodes that tell of one pod, as when it has moved, take turns.
func (db *DB) reportAll(ctx context.Context, group []*reporting) {
	for len(group) > 0 {
		var now, later []*reporting
		named := map[string]bool{}
		for _, c := range group {
			if slices.ContainsFunc(c.pods, func(id string) bool { return named[id] }) {
				later = append(later, c)
				continue
			}
			for _, id := range c.pods {
				named[id] = true
			}
			now = append(now, c)
		}
		db.reportGroup(ctx, now, lacksNothing)
		group = later
	}
}

// reportCounted serves a group that lacked namespaces, and waits for those.
func (db *DB) reportCounted(ctx context.Context, group []*reporting) {
	db.reportGroup(ctx, group, lacksNamespace)
}

// reportHeld serves a node that lacked a pod, and waits for all.
func (db *DB) reportHeld(ctx context.Context, group []*reporting) {
	db.reportGroup(ctx, group, lacksPod)
}

// reportGroup stores reports in one transaction, which waits for what is not above a lack:
// those of nodes that lack more are left out, and say what. If that fails for what may be
// one of them it finds out which by halves, so that the others are stored.
func (db *DB) reportGroup(ctx context.Context, group []*reporting, waits lack) {
	err := db.transaction(ctx, "report runs", service, func(t Tx) error {
		ledgers, there, err := loadLedgers(ctx, t, group, waits == lacksPod)
		if err != nil {
			return err
		}
		ends := map[string]bool{}
		for i, c := range group {
			c.accepted, c.refused, c.lacks = nil, nil, lacksNothing
			if waits < lacksPod && len(ledgers[i].pods) < there[i] {
				c.lacks = lacksPod
				continue
			}
			c.accepted, c.refused = ledgers[i].take(c.reports)
			for _, name := range ledgers[i].endsIn() {
				ends[name] = false
			}
		}
		if waits < lacksNamespace {
			if err := holdNamespaces(ctx, t, ends); err != nil {
				return err
			}
		}
		var rows changedRows
		for i, c := range group {
			if waits < lacksNamespace && slices.ContainsFunc(ledgers[i].endsIn(), func(name string) bool { return !ends[name] }) {
				c.lacks = max(c.lacks, lacksNamespace)
			}
			if c.lacks == lacksNothing {
				rows.add(ledgers[i])
			}
		}
		if len(rows.runs)+len(rows.pods) == 0 {
			return errNothingToDo
		}
		return rows.store(t)
	})
	if err != nil && len(group) > 1 && refusesRow(err) {
		db.reportGroup(ctx, group[:len(group)/2], waits)
		db.reportGroup(ctx, group[len(group)/2:], waits)
		return
	}
	for _, c := range group {
		if c.err = err; err != nil {
			c.accepted, c.refused, c.lacks = nil, nil, lacksNothing
		}
	}
}

// loadLedgers locks the pods that nodes tell of, then reads their runs as they are under the
// lock. Pods that others hold are left out unless it is to wait; there is, for each node,
// how many of its pods there were just before: what was gone then nobody holds.
func loadLedgers(ctx context.Context, t Tx, group []*reporting, wait bool) (ledgers []*ledger, there []int, err error) {
	var ids []string
	for _, c := range group {
		ids = append(ids, c.pods...)
	}
	lock := " order by p.id for update of p"
	if !wait {
		lock += " skip locked"
	}
	var now time.Time
	var known []string
	var pods []api.Pod
	var runs []api.Run
	t.Queue("select now(), array(select p.id::text from public.pods p where p.id = any ($1::text[]::uuid[]))", ids).
		QueryRow(func(row pgx.Row) error { return row.Scan(&now, &known) })
	t.Queue("select "+podColumns+" from public.pods p where p.id = any ($1::text[]::uuid[])"+lock, ids).Query(all(&pods, scanPod))
	if err := t.Query(ctx, all(&runs, scanRun), "select "+runColumns+" from public.pod_runs r where r.pod_id = any ($1::text[]::uuid[])", ids); err != nil {
		return nil, nil, err
	}
	ledgers, there = make([]*ledger, len(group)), make([]int, len(group))
	of := make(map[string]int, len(ids))
	for i, c := range group {
		ledgers[i] = newLedger(c.node, now)
		for _, id := range c.pods {
			of[id] = i
		}
	}
	for _, id := range known {
		there[of[id]]++
	}
	for _, p := range pods {
		ledgers[of[p.ID]].pods[p.ID] = &podState{Pod: p}
	}
	for _, r := range runs {
		ledgers[of[r.PodID]].know(r)
	}
	return ledgers, there, nil
}

// holdNamespaces locks those of some namespaces that nobody else holds, and says which.
func holdNamespaces(ctx context.Context, t Tx, names map[string]bool) error {
	if len(names) == 0 {
		return nil
	}
	var held []string
	if err := t.Query(ctx, all(&held, scanText), "select s.name from public.namespaces s where s.name = any ($1) order by s.name for no key update of s skip locked",
		slices.Sorted(maps.Keys(names))); err != nil {
		return err
	}
	for name := range names {
		names[name] = slices.Contains(held, name)
	}
	return nil
}

// changedRows are what ledgers have changed.
type changedRows struct{ runs, pods []map[string]any }

func (c *changedRows) add(l *ledger) {
	runs, pods := l.changed()
	c.runs, c.pods = append(c.runs, runs...), append(c.pods, pods...)
}

// store writes them. All but the first statement of the transaction leave with its commit.
func (c *changedRows) store(t Tx) error {
	if len(c.runs) > 0 {
		runs, err := jsonText(c.runs)
		if err != nil {
			return err
		}
		t.Queue(`insert into public.pod_runs as r (pod_id, incarnation, attempt, node_id, pack_id, status, termination, started_at, ready_at, finished_at)
			select v.pod_id, v.incarnation, v.attempt, v.node_id, v.pack_id, v.status::public.run_status, v.termination,
				v.started_at, v.ready_at, v.finished_at
			from jsonb_to_recordset($1::text::jsonb) as v (pod_id uuid, incarnation integer, attempt integer, node_id uuid, pack_id uuid,
				status text, termination jsonb, started_at timestamptz, ready_at timestamptz, finished_at timestamptz)
			on conflict (pod_id, incarnation, attempt) do update set status = excluded.status,
				termination = coalesce(excluded.termination, r.termination), started_at = coalesce(r.started_at, excluded.started_at),
				ready_at = coalesce(r.ready_at, excluded.ready_at), finished_at = coalesce(r.finished_at, excluded.finished_at)`, runs)
	}
	if len(c.pods) > 0 {
		pods, err := jsonText(c.pods)
		if err != nil {
			return err
		}
		t.Queue(`update public.pods p set status = v.status::public.pod_status, reason = v.reason, status_message = v.message,
				restarts = v.restarts, last_termination = v.last_termination,
				pack_id = v.pack_id, incarnation = v.incarnation, next_pack_id = case when v.rolling then p.next_pack_id end,
				started_at = coalesce(v.started_at, p.started_at), stopped_at = v.stopped_at
			from jsonb_to_recordset($1::text::jsonb) as v (id uuid, status text, reason text, message text, restarts integer,
				pack_id uuid, incarnation integer, rolling boolean, last_termination jsonb, started_at timestamptz, stopped_at timestamptz)
			where p.id = v.id`, pods)
	}
	return nil
}
