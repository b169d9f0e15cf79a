package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/supabase/devstack/headers"
	"github.com/stark-orchestrator/stark/supabase/devstack/patience"
)

// requestLimit bounds a request as a whole; the statement timeouts of the roles are shorter.
const requestLimit = 30 * time.Second

const roleAnon = "anon"

// actor is whom a transaction speaks for.
type actor struct {
	role   string
	claims string // JSON
}

// caller reads the token of a request. Without one it is anon.
func (s *service) caller(r *http.Request) (actor, error) {
	kind, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return actor{role: roleAnon, claims: `{"role":"anon"}`}, nil
	}
	claims, err := s.Verify(strings.TrimSpace(token))
	if err != nil {
		f := refuse(http.StatusUnauthorized, "PGRST301", "No suitable key or wrong key type")
		if strings.Contains(err.Error(), "expired") {
			f.Code, f.Message = "PGRST303", "JWT expired"
		}
		f.challenge = fmt.Sprintf("Bearer error=\"invalid_token\", error_description=%q", f.Message)
		return actor{role: roleAnon}, f
	}
	a := actor{role: roleAnon}
	if role, ok := claims["role"].(string); ok && role != "" {
		a.role = role
	}
	claims["role"] = a.role
	text, err := json.Marshal(claims)
	if err != nil {
		return a, fmt.Errorf("encode claims: %w", err)
	}
	a.claims = string(text)
	return a, nil
}

// settings are transaction-local, so a pooled connection forgets them. The first statement gives the role's
// own settings, such as its statement timeout: becoming a role does not bring them.
const (
	roleSettings = `select set_config(split_part(s, '=', 1), substr(s, strpos(s, '=') + 1), true)
  from pg_catalog.pg_roles, unnest(rolconfig) as s
  where rolname = $1 and split_part(s, '=', 1) in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')`
	requestSettings = `select set_config('search_path', $1, true), set_config('role', $2, true),
  set_config('request.jwt.claims', $3, true), set_config('request.method', $4, true),
  set_config('request.path', $5, true), set_config('request.headers', $6, true)`
)

// conversation is the one transaction of a request, as its caller.
type conversation struct {
	tx pgx.Tx
}

// as runs fn in a transaction of the caller and commits it. Reads cannot write, whatever they call.
func (s *service) as(ctx context.Context, c *call, reads bool, fn func(context.Context, conversation) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	ctx, end := s.guard.Watch(ctx)
	defer end()
	err := s.transaction(ctx, c, reads, fn)
	if err != nil && patience.Away(ctx) {
		return refuse(http.StatusGatewayTimeout, "PGRST003", "Timed out acquiring connection from connection pool.")
	}
	return err
}

func (s *service) transaction(ctx context.Context, c *call, reads bool, fn func(context.Context, conversation) error) error {
	options := pgx.TxOptions{AccessMode: pgx.ReadWrite}
	if reads {
		options.AccessMode = pgx.ReadOnly
	}
	tx, err := s.Pool.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() {
		// The caller may have gone; the transaction has to end all the same.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = tx.Rollback(end)
	}()
	if _, err := tx.Exec(ctx, roleSettings, c.actor.role); err != nil {
		return fmt.Errorf("settings of the role: %w", err)
	}
	path := &statement{}
	path.names("", append([]string{c.schema}, s.SearchPath...))
	if _, err := tx.Exec(ctx, requestSettings, path.text.String(), c.actor.role, c.actor.claims, c.r.Method, c.r.URL.Path, headers.JSON(c.r.Header)); err != nil {
		return fmt.Errorf("settings of the request: %w", err)
	}
	if err := fn(ctx, conversation{tx}); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// rows runs a statement once, unprepared: its text is as good as never seen again. Everything comes as text.
func (t conversation) rows(ctx context.Context, s *statement) ([][][]byte, error) {
	result := t.tx.Conn().PgConn().ExecParams(ctx, s.text.String(), s.values, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, fmt.Errorf("run statement: %w", result.Err)
	}
	return result.Rows, nil
}
