package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Budget is how many connections there are and who has them. A pooler in between
// has a limit of its own, which it tells nobody.
type Budget struct {
	Max      int  // that Postgres takes, without those reserved for superusers
	Role     int  // that the login may have, -1 without limit
	Used     int  // by everybody, this server too
	Own      int  // by all servers of Stark
	Wanted   int  // by this server at most: the pool and the one that listens
	Pooled   bool // through a pooler: Max is not what limits
	Messages []string
}

// Headroom is how many connections others would leave if this server took all
// that it may.
func (b Budget) Headroom() int { return b.Max - b.Used - b.Wanted }

// Budget asks Postgres for its limits and compares them with what this server may
// take. Messages say what does not fit, and what to do; none means that all is well.
func (db *DB) Budget(ctx context.Context) (Budget, error) {
	b := Budget{Wanted: int(db.pool.Config().MaxConns) + 1, Pooled: db.pooled.Load()}
	err := db.read(ctx, "connection budget", service, func(batch *pgx.Batch) {
		batch.Queue(budgetSQL).Query(one(&b, func(row pgx.CollectableRow) (Budget, error) {
			err := row.Scan(&b.Max, &b.Role, &b.Used, &b.Own)
			return b, err
		}))
	})
	if err != nil || b.Pooled {
		return b, err
	}
	b.judge()
	return b, nil
}

// The views of statistics show to everybody how many there are and what they are
// called; only what they do is hidden.
const budgetSQL = `
	select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
			- coalesce(current_setting('reserved_connections', true)::int, 0),
		(select rolconnlimit from pg_roles where rolname = session_user),
		(select coalesce(sum(numbackends), 0)::int from pg_stat_database),
		(select count(*)::int from pg_stat_activity where application_name in ('stark-server', 'stark-feed'))`

func (b *Budget) judge() {
	const fix = "lower STARK_DATABASE_POOL_SIZE, or go through the pooler"
	switch {
	case b.Wanted > b.Max:
		b.Messages = append(b.Messages, "the pool may grow larger than all connections that Postgres takes: "+fix)
	case b.Role >= 0 && b.Wanted > b.Role:
		b.Messages = append(b.Messages, "the pool may grow larger than the connection limit of its role: "+fix)
	case b.Used-b.Own+b.Wanted > b.Max:
		b.Messages = append(b.Messages, "the pool does not fit beside the connections that others have now: "+fix)
	}
}
