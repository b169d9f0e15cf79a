package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// TakeNode makes the caller answer for a node, which serves everybody from then on.
// Admins and operators may, for themselves, and only what was shared or what nobody
// answers for: the database says so.
func (db *DB) TakeNode(ctx context.Context, id access.Identity, nodeID string) (api.Node, error) {
	var n api.Node
	if err := checkID(nodeID, "node"); err != nil {
		return n, err
	}
	err := db.changeOwn(ctx, "take node", id, "node", nodeID, "select exists (select from public.nodes where id = $1)",
		func(b *pgx.Batch) {
			b.Queue("update public.nodes n set registered_by = $2::text::uuid where n.id = $1 returning "+nodeColumns, nodeID, id.UserID).
				Query(one(&n, scanNode))
		})
	return n, err
}
