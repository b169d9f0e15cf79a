package postgres

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// settings gives the statement that opens every transaction.
func (db *DB) settings() string {
	if db.pooled.Load() {
		return pooledSettingsSQL
	}
	return settingsSQL
}

// beforeConnect leaves out what a transaction pooler cannot keep: settings of the
// session, and statements that are prepared on one connection and run on another.
func (db *DB) beforeConnect(_ context.Context, c *pgx.ConnConfig) error {
	if !db.pooled.Load() {
		return nil
	}
	for name := range limits {
		delete(c.RuntimeParams, name)
	}
	if c.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		c.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return nil
}

// metPooler reports whether a connection was refused by a pooler that we took for
// Postgres; the next will be made as it likes. Poolers on other ports than 6543
// are found out so.
func (db *DB) metPooler(err error) bool {
	const protocolViolation = "08P01"
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || e.Code != protocolViolation || !strings.Contains(e.Message, "startup parameter") {
		return false
	}
	if !db.pooled.Swap(true) {
		db.log.Info("a pooler stands before Postgres: statements are not prepared, and limits are set in each transaction", slog.String("said", e.Message))
	}
	return true
}
