package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/supabase/devstack/patience"
)

const (
	bodyLimit    = 1 << 20
	requestLimit = 30 * time.Second
	hookLimit    = 2 * time.Second
)

// service keeps what matters in the database, and nothing else that a restart would lose to anybody's harm.
type service struct {
	Config
	limiter limiter
	guard   *patience.Guard
	// hooked tells that a token went through the hook since the start.
	hooked atomic.Bool
	log    *slog.Logger
	// hashing bounds how many passwords are hashed at a time: each keeps a core busy for a while.
	hashing chan struct{}
	now     func() time.Time
}

// New returns the handler. Its paths carry no prefix: mount it with http.StripPrefix.
func New(c Config) (http.Handler, error) {
	s, err := newService(c)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return s.routes(), nil
}

func newService(c Config) (*service, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &service{
		Config: c, log: c.Logger, now: time.Now,
		guard:   patience.New(c.Pool),
		limiter: limiter{header: c.RateLimitHeader},
		hashing: make(chan struct{}, 2*runtime.NumCPU()),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// answer is a status and a body to be sent as JSON; a nil body sends nothing.
type answer struct {
	status int
	body   any
	header http.Header
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	open := func(pattern string, h func(*http.Request) (answer, error)) {
		mux.Handle(pattern, s.handle(h))
	}
	signedIn := func(pattern string, h func(*http.Request, caller) (answer, error)) {
		open(pattern, func(r *http.Request) (answer, error) {
			who, err := s.authenticate(r)
			if err != nil {
				return answer{}, err
			}
			return h(r, who)
		})
	}
	admin := func(pattern string, h func(*http.Request) (answer, error)) {
		open(pattern, func(r *http.Request) (answer, error) {
			if err := s.requireAdmin(r); err != nil {
				return answer{}, err
			}
			return h(r)
		})
	}
	open("GET /health", s.health)
	open("GET /settings", s.settings)
	open("GET /.well-known/jwks.json", s.jwks)
	open("POST /signup", s.signUp)
	open("POST /token", s.token)
	signedIn("GET /user", s.getUser)
	signedIn("PUT /user", s.putUser)
	signedIn("POST /logout", s.logout)
	admin("POST /admin/users", s.adminCreate)
	admin("GET /admin/users", s.adminList)
	admin("GET /admin/users/{id}", s.adminGet)
	admin("PUT /admin/users/{id}", s.adminUpdate)
	admin("DELETE /admin/users/{id}", s.adminDelete)
	return mux
}

// handle turns a function that returns its answer into a handler with a time limit and a bounded body.
func (s *service) handle(h func(*http.Request) (answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestLimit)
		defer cancel()
		ctx, done := s.guard.Watch(ctx)
		defer done()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
		a, err := h(r)
		if err != nil {
			s.writeError(w, r, err)
			return
		}
		maps.Copy(w.Header(), a.header)
		if r.Header.Get(versionHeader) == newDialect {
			w.Header().Set(versionHeader, newDialect)
		}
		if a.body == nil {
			w.WriteHeader(a.status)
			return
		}
		writeJSON(w, a.status, a.body)
	})
}

func readBody(r *http.Request) ([]byte, error) {
	text, err := io.ReadAll(r.Body)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, fail(http.StatusRequestEntityTooLarge, "request_entity_too_large", "Request body too large")
	}
	if err != nil {
		return nil, fail(http.StatusBadRequest, "bad_json", "Could not read request body")
	}
	return text, nil
}

// decode reads the body into v. An empty body counts as malformed JSON, as in GoTrue.
func decode(r *http.Request, v any) error {
	text, err := readBody(r)
	if err != nil {
		return err
	}
	return unmarshal(text, v)
}

func unmarshal(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return fail(http.StatusBadRequest, "bad_json", "Could not parse request body as JSON: "+err.Error())
	}
	return nil
}

// inTx runs fn in one transaction. An error that keepError wraps commits all the same.
func (s *service) inTx(ctx context.Context, fn func(tx pgx.Tx) error) error {
	tx, err := s.Pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err = fn(tx)
	if kept, ok := errors.AsType[*keepError](err); ok {
		return errors.Join(tx.Commit(ctx), kept.err)
	}
	if err != nil {
		// The caller's context may be over; the transaction has to end all the same.
		rollback, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = tx.Rollback(rollback)
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// keepError is an error whose transaction is to be committed.
type keepError struct{ err error }

func (e *keepError) Error() string { return e.err.Error() }

// caller is who an access token belongs to.
type caller struct {
	user      *user
	sessionID string // empty when the token names no session
	admin     bool
}

// claims verifies the Bearer token of a request.
func (s *service) claims(r *http.Request) (map[string]any, error) {
	kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(kind, "bearer") || token == "" {
		return nil, fail(http.StatusUnauthorized, "no_authorization", "This endpoint requires a valid Bearer token")
	}
	claims, err := s.Keys.Verify(token)
	if err != nil {
		return nil, fail(http.StatusForbidden, "bad_jwt", "invalid JWT: unable to parse or verify signature, "+err.Error())
	}
	return claims, nil
}

func isAdmin(claims map[string]any) bool {
	return claims["role"] == "service_role" || claims["role"] == "supabase_admin"
}

func (s *service) requireAdmin(r *http.Request) error {
	claims, err := s.claims(r)
	if err != nil {
		return err
	}
	if !isAdmin(claims) {
		return fail(http.StatusForbidden, "not_admin", "User not allowed")
	}
	return nil
}

// authenticate finds the user and the session behind a request.
func (s *service) authenticate(r *http.Request) (caller, error) {
	claims, err := s.claims(r)
	if err != nil {
		return caller{}, err
	}
	sub, ok := claims["sub"].(string)
	if !ok || sub == "" {
		return caller{}, fail(http.StatusForbidden, "bad_jwt", "invalid claim: missing sub claim")
	}
	if uuid.Validate(sub) != nil {
		return caller{}, fail(http.StatusBadRequest, "bad_jwt", "invalid claim: sub claim must be a UUID")
	}
	if !hasAudience(claims) {
		return caller{}, invalid("Token audience doesn't match request audience")
	}
	found, err := findUser(r.Context(), s.Pool, "id", sub)
	if err != nil {
		return caller{}, err
	}
	if found == nil {
		return caller{}, fail(http.StatusForbidden, "user_not_found", "User from sub claim in JWT does not exist")
	}
	who := caller{user: found, admin: isAdmin(claims)}
	if id, ok := claims["session_id"].(string); ok && id != "" {
		if uuid.Validate(id) != nil {
			return caller{}, fail(http.StatusForbidden, "bad_jwt", "invalid claim: session_id claim must be a UUID")
		}
		exists, err := sessionExists(r.Context(), s.Pool, id, sub)
		if err != nil {
			return caller{}, err
		}
		if !exists {
			return caller{}, fail(http.StatusForbidden, "session_not_found", "Session from session_id claim in JWT does not exist")
		}
		who.sessionID = id
	}
	if found.banned(s.now()) {
		return caller{}, fail(http.StatusForbidden, "user_banned", "User is banned")
	}
	return who, nil
}

func hasAudience(claims map[string]any) bool {
	switch aud := claims["aud"].(type) {
	case string:
		return aud != ""
	case []any:
		return len(aud) > 0
	default:
		return false
	}
}

// remoteIP is the caller's address without the port, or nil.
func remoteIP(r *http.Request) *string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || net.ParseIP(host) == nil {
		return nil
	}
	return &host
}
