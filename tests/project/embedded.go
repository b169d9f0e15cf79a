//go:build !containers

package project

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/supabase/devstack"
	"github.com/stark-orchestrator/stark/supabase/devstack/keys"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

// fallback is what tests run against where the environment names nothing: the stack
// in Go.
func fallback(ctx context.Context) (*Project, error) {
	dir, err := os.MkdirTemp("", "stark-project-")
	if err != nil {
		return nil, err
	}
	remove := func() error { return os.RemoveAll(dir) }
	// The account that runs Postgres has to pass through.
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // see above
		return nil, errors.Join(err, remove())
	}
	log, end := loggingtest.Shared(os.Stderr)
	s, err := devstack.Start(ctx, devstack.Options{
		Dir: dir, TemplateKey: migrate.Digest(),
		Prepare: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := migrate.Up(ctx, conn)
			return err
		},
		Logger: log.Logger, PasswordCost: devstack.LeastPasswordCost,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the embedded stack: %w", err), remove())
	}
	log.Secret(s.JWTSecret, s.AnonKey, s.ServiceRoleKey, s.PublishableKey, s.SecretKey)
	set, err := keys.Load(dir)
	if err != nil {
		return nil, errors.Join(err, s.Close(ctx), remove())
	}
	return &Project{
		URL: s.URL, DBURL: s.DBURL, AnonKey: s.AnonKey, ServiceRoleKey: s.ServiceRoleKey, JWTSecret: s.JWTSecret,
		PublishableKey: s.PublishableKey, SecretKey: s.SecretKey, sign: set.Sign, secret: log.Secret,
		close: func(ctx context.Context) error { return errors.Join(s.Close(ctx), end(), remove()) },
	}, nil
}
