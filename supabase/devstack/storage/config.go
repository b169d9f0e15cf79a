package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stark-orchestrator/stark/supabase/devstack/patience"
)

// DefaultMaxBytes is the largest object accepted when Config.MaxBytes is zero,
// as in the Supabase CLI.
const DefaultMaxBytes = 50 << 20

// sweepTimeout bounds the removal of leftovers while the service starts.
const sweepTimeout = 30 * time.Second

// Config says what a storage service stands on.
type Config struct {
	// Pool reaches the database with the storage schema. Its login must be able
	// to SET ROLE to service_role, authenticated and anon, and should be able to
	// reach no other role: a token's role claim is handed to Postgres as it is.
	Pool *pgxpool.Pool
	// Dir holds the object files. One service at a time may own it.
	Dir string
	// Verify checks signature and expiry of a token and returns its claims.
	Verify func(token string) (claims map[string]any, err error)
	// Sign makes the tokens of signed URLs; Verify must accept them.
	Sign func(claims map[string]any) (string, error)
	// MaxBytes is the global limit of one object; zero means DefaultMaxBytes.
	MaxBytes int64
	// Durable makes every upload reach the disk before it is answered.
	Durable bool
	// Logger gets the causes of answers with a status of 500 and above.
	Logger *slog.Logger
}

func (c Config) validate() error {
	var errs []error
	if c.Pool == nil {
		errs = append(errs, errors.New("pool is missing"))
	}
	if c.Dir == "" {
		errs = append(errs, errors.New("dir is missing"))
	}
	if c.Verify == nil || c.Sign == nil {
		errs = append(errs, errors.New("verify and sign are both needed"))
	}
	if c.MaxBytes < 0 {
		errs = append(errs, errors.New("maxBytes is negative"))
	}
	return errors.Join(errs...)
}

// New removes what a crash left in the folder and returns the handler, which
// expects paths below /storage/v1 with that prefix stripped.
func New(c Config) (http.Handler, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("configure storage: %w", err)
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFiles(c.Dir, c.Durable)
	if err != nil {
		return nil, fmt.Errorf("open object folder: %w", err)
	}
	s := &service{
		db: &database{pool: c.Pool, guard: patience.New(c.Pool)}, files: f, verify: c.Verify, sign: c.Sign,
		maxBytes: c.MaxBytes, log: c.Logger, now: time.Now,
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	defer cancel()
	n, err := s.sweep(ctx)
	if err != nil {
		return nil, fmt.Errorf("collect orphaned objects: %w", err)
	}
	if n > 0 {
		s.log.InfoContext(ctx, "removed object files without a row", slog.Int("count", n))
	}
	return s, nil
}
