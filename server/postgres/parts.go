package postgres

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
)

// partSize bounds the pods that are taken in as one step. Whoever reads a crowd of new pods
// at once keeps the scheduler waiting for the last of them, and overruns watchers.
const partSize = 1000

// part is one step of what has changed: what is to be read, by kind and id, and pods that
// are known.
type part struct {
	keys map[string]map[string]bool // nil for nothing
	own  []*api.Pod
}

// planTurn says when a pod is planned.
type planTurn struct {
	id       string
	waits    bool // has no node, and has not ended
	priority int32
	created  time.Time
}

// compare orders pods that have a node or have ended, then those that wait, by priority
// and age.
func (a planTurn) compare(b planTurn) int {
	switch {
	case a.waits != b.waits && a.waits:
		return 1
	case a.waits != b.waits:
		return -1
	}
	return cmp.Or(cmp.Compare(b.priority, a.priority), a.created.Compare(b.created), strings.Compare(a.id, b.id))
}

// parts divides what has changed, by kind and id, and what is known of it: everything but
// pods is in the first part. Pods that are gone come first, since they leave room, then
// those that have a node or have ended, and those that wait in the order in which they are
// planned: no pod takes the room of a more important one of its crowd, and none is made
// room for that is there.
func (db *DB) parts(ctx context.Context, keys map[string]map[string]bool, own map[string]*api.Pod) ([]part, error) {
	pods := keys[kindPod]
	if len(pods) == 0 {
		delete(keys, kindPod)
	}
	if len(keys) == 0 {
		keys = nil
	}
	if len(pods)+len(own) <= partSize {
		return []part{{keys: keys, own: slices.Collect(maps.Values(own))}}, nil
	}
	turns, err := db.planTurns(ctx, pods)
	if err != nil {
		return nil, err
	}
	gone := maps.Clone(pods)
	for _, t := range turns {
		delete(gone, t.id)
	}
	for _, p := range own {
		turns = append(turns, planTurn{id: p.ID, waits: p.Status == api.PodPending, priority: p.Priority, created: p.CreatedAt})
	}
	slices.SortFunc(turns, planTurn.compare)
	order := slices.Collect(maps.Keys(gone))
	for _, t := range turns {
		order = append(order, t.id)
	}
	var parts []part
	for ids := range slices.Chunk(order, partSize) {
		parts = append(parts, partOf(ids, own))
	}
	for kind, ids := range keys {
		if kind != kindPod {
			maps.Copy(parts[0].read(kind), ids)
		}
	}
	return parts, nil
}

func partOf(ids []string, own map[string]*api.Pod) (p part) {
	for _, id := range ids {
		if known, ok := own[id]; ok {
			p.own = append(p.own, known)
			continue
		}
		p.read(kindPod)[id] = true
	}
	return p
}

// read gives the ids of a kind that are to be read.
func (p *part) read(kind string) map[string]bool {
	if p.keys == nil {
		p.keys = map[string]map[string]bool{}
	}
	if p.keys[kind] == nil {
		p.keys[kind] = map[string]bool{}
	}
	return p.keys[kind]
}

// planTurns gives those of the pods that there are.
func (db *DB) planTurns(ctx context.Context, pods map[string]bool) (turns []planTurn, err error) {
	if len(pods) == 0 {
		return nil, nil
	}
	ids := slices.Collect(maps.Keys(pods))
	err = db.read(ctx, "order changed pods", service, func(b *pgx.Batch) {
		b.Queue(indexedSQL)
		b.Queue("select p.id::text, p.status = 'pending', p.priority, p.created_at from public.pods p where p.id = any ($1::text[]::uuid[])", ids).
			Query(all(&turns, func(row pgx.CollectableRow) (t planTurn, err error) {
				err = row.Scan(&t.id, &t.waits, &t.priority, &t.created)
				return t, err
			}))
	})
	return turns, err
}
