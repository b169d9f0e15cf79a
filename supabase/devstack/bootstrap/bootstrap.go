// Package bootstrap turns an empty Postgres database into what a fresh Supabase project offers: roles,
// schemas auth and storage, their tables, functions, grants and policies. It knows nothing of the
// application's own tables, which migrations bring.
package bootstrap

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

// Superuser is the role that owns the cluster; the bootstrap has to run as it.
const Superuser = "supabase_admin"

//go:embed *.sql
var files embed.FS

// Run applies the bootstrap in one transaction. conn is logged in as Superuser to a database that has no
// schema auth yet; roles that exist already are left as they are.
func Run(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return fmt.Errorf("bootstrap: %w", err)
		}
		if _, err := tx.Exec(ctx, string(text)); err != nil {
			return fmt.Errorf("bootstrap: %s: %w", name, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

// Version changes whenever the SQL does; it is part of the key of every template database.
func Version() string {
	sum := sha256.New()
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return "" // the pattern is constant and well formed
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return ""
		}
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}
