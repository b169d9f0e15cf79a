package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stark-orchestrator/stark/supabase/devstack/headers"
	"github.com/stark-orchestrator/stark/supabase/devstack/patience"
)

// statementTimeout bounds each transaction, in Postgres and here.
const statementTimeout = 30 * time.Second

type database struct {
	pool  *pgxpool.Pool
	guard *patience.Guard
}

// settings are transaction-local, so a pooled connection forgets them. The
// role comes first: what follows is set with the caller's rights.
const settings = `select
  set_config('role', $1, true),
  set_config('request.jwt', $2, true),
  set_config('request.jwt.claims', $3, true),
  set_config('request.jwt.claim.sub', $4, true),
  set_config('request.jwt.claim.role', $1, true),
  set_config('request.headers', $5, true),
  set_config('request.method', $6, true),
  set_config('request.path', $7, true),
  set_config('storage.operation', $8, true),
  set_config('storage.allow_delete_query', 'true', true),
  set_config('statement_timeout', '30s', true)`

// become makes the rest of the transaction run as a.
func become(ctx context.Context, tx pgx.Tx, c *call, a actor) error {
	_, err := tx.Exec(ctx, settings, a.role, a.token, a.claims, a.sub, headers.JSON(c.r.Header), c.r.Method, c.r.URL.Path, c.op)
	if err != nil && tx.Conn().IsClosed() {
		return fmt.Errorf("set role: %w", err)
	}
	if err != nil && ctx.Err() == nil {
		return databaseError("the token's role is not usable", fmt.Errorf("set role: %w", err))
	}
	return err
}

// as runs fn in a transaction of a and commits it.
func (db *database) as(c *call, a actor, fn func(context.Context, pgx.Tx) error) error {
	return db.run(c, a, fn, pgx.Tx.Commit)
}

// try runs fn in a transaction of a and always rolls it back: its outcome is
// the answer to whether the policies would let a do it.
func (db *database) try(c *call, a actor, fn func(context.Context, pgx.Tx) error) error {
	return db.run(c, a, fn, pgx.Tx.Rollback)
}

// errCommit marks a commit whose outcome is unknown: files that the
// transaction names must stay.
var errCommit = errors.New("commit")

func (db *database) run(
	c *call, a actor, fn func(context.Context, pgx.Tx) error, end func(pgx.Tx, context.Context) error,
) error {
	ctx, cancel := context.WithTimeout(c.r.Context(), statementTimeout)
	defer cancel()
	ctx, done := db.guard.Watch(ctx)
	defer done()
	err := db.transaction(ctx, c, a, fn, end)
	if err != nil && patience.Away(ctx) {
		return databaseTimeout(err)
	}
	return err
}

func (db *database) transaction(
	ctx context.Context, c *call, a actor, fn func(context.Context, pgx.Tx) error, end func(pgx.Tx, context.Context) error,
) error {
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return internal(fmt.Errorf("begin: %w", err))
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if err := become(ctx, tx, c, a); err != nil {
		return err
	}
	if err := fn(ctx, tx); err != nil {
		return err
	}
	if err := end(tx, ctx); err != nil {
		return internal(fmt.Errorf("%w: %w", errCommit, err))
	}
	return nil
}
