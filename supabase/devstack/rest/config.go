package rest

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stark-orchestrator/stark/supabase/devstack/patience"
)

// DefaultMaxBody bounds a request body when Config.MaxBody is zero.
const DefaultMaxBody = 10 << 20

// Config says what the service stands on.
type Config struct {
	// Pool is logged in as authenticator, which has no rights but to become anon, authenticated or
	// service_role: a token's role claim is handed to Postgres as it is.
	Pool *pgxpool.Pool
	// Verify checks signature and expiry of a token and returns its claims.
	Verify func(token string) (claims map[string]any, err error)
	// Schemas are exposed; the first one is meant when a request names none.
	Schemas []string
	// SearchPath is appended to the schema of a request.
	SearchPath []string
	// MaxRows bounds the rows of one answer to a read; zero means no bound.
	MaxRows int64
	// MaxBody bounds a request body; zero means DefaultMaxBody.
	MaxBody int64
	// Logger gets the causes of answers with a status of 500 and above.
	Logger *slog.Logger
}

func (c Config) check() error {
	var errs []error
	if c.Pool == nil {
		errs = append(errs, errors.New("the pool is missing"))
	}
	if c.Verify == nil {
		errs = append(errs, errors.New("verify is missing"))
	}
	if len(c.Schemas) == 0 {
		errs = append(errs, errors.New("at least one schema is needed"))
	}
	if c.MaxRows < 0 || c.MaxBody < 0 {
		errs = append(errs, errors.New("a limit is negative"))
	}
	return errors.Join(errs...)
}

// New returns the handler, which expects paths below /rest/v1 with that prefix stripped.
func New(c Config) (http.Handler, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("configure rest: %w", err)
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &service{Config: c, guard: patience.New(c.Pool)}, nil
}
