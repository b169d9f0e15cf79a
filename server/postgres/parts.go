package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// partSize bounds the pods that are read as one step. Whoever reads a crowd of new pods
// at once keeps the scheduler waiting for the last of them, and overruns watchers.
const partSize = 1000

// parts divides what has changed, by kind and id: everything but pods is in the first
// part. Pods that are gone come first, since they leave room, then those that have a node
// or have ended, and those that wait in the order in which they are planned: no pod takes
// the room of a more important one of its crowd, and none is made room for that is there.
func (db *DB) parts(ctx context.Context, keys map[string]map[string]bool) ([]map[string]map[string]bool, error) {
	pods := keys[kindPod]
	if len(pods) <= partSize {
		return []map[string]map[string]bool{keys}, nil
	}
	order, err := db.planOrder(ctx, pods)
	if err != nil {
		return nil, err
	}
	gone := maps.Clone(pods)
	for _, id := range order {
		delete(gone, id)
	}
	var parts []map[string]map[string]bool
	for ids := range slices.Chunk(append(slices.Collect(maps.Keys(gone)), order...), partSize) {
		part := make(map[string]bool, len(ids))
		for _, id := range ids {
			part[id] = true
		}
		parts = append(parts, map[string]map[string]bool{kindPod: part})
	}
	for kind, ids := range keys {
		if kind != kindPod {
			parts[0][kind] = ids
		}
	}
	return parts, nil
}

// planOrder gives those of the pods that there are, those that wait last, by priority and
// age.
func (db *DB) planOrder(ctx context.Context, pods map[string]bool) ([]string, error) {
	ids := slices.Collect(maps.Keys(pods))
	var order []string
	err := db.read(ctx, "order changed pods", service, func(b *pgx.Batch) {
		b.Queue(indexedSQL)
		b.Queue("select p.id::text from public.pods p where p.id = any ($1::text[]::uuid[]) order by p.status = 'pending', p.priority desc, p.created_at, p.id", ids).
			Query(func(rows pgx.Rows) (err error) {
				order, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
	})
	return order, err
}
