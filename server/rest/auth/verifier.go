// Package auth verifies access tokens of Supabase Auth, and that their sessions
// last. It owns which signatures, issuers, audiences and sessions are believed, and
// refuses everything else: it gives no roles and does not know HTTP requests.
package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// leeway forgives clocks that differ.
const leeway = 10 * time.Second

// maxToken bounds a token, in bytes: hooks may add claims, but a header of a
// megabyte is not a token.
const maxToken = 32 << 10

// Config tells whose tokens are believed.
type Config struct {
	JWKSURL  string
	Issuer   string
	Audience string // "authenticated" when empty
	Secret   string // switches HS256 on
	Logger   *slog.Logger
	// Now is the time by which tokens are judged: that of the database, which stands by
	// whoever issues them, rather than this machine's. nil means time.Now.
	Now func() time.Time

	// For tests; zero values mean 10 minutes and 30 seconds.
	RefreshInterval  time.Duration
	UnknownKIDPeriod time.Duration
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	config   Config
	keys     *keySet
	parser   *jwt.Parser
	believed *believed
}

// New makes a Verifier. Keys are fetched when the first token needs them, and
// refreshed until ctx ends.
func New(ctx context.Context, c Config) (*Verifier, error) {
	if c.Issuer == "" {
		return nil, errors.New("the issuer of access tokens is not set")
	}
	if c.Audience == "" {
		c.Audience = "authenticated"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	methods := []string{"ES256", "RS256"}
	if c.Secret != "" {
		methods = append(methods, "HS256")
	}
	keys, err := newKeySet(ctx, c)
	if err != nil {
		return nil, err
	}
	known, err := newBelieved(&keys.source.fetched, c.Now)
	if err != nil {
		return nil, err
	}
	return &Verifier{
		config: c, keys: keys, believed: known,
		parser: jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithIssuer(c.Issuer), jwt.WithLeeway(leeway),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(c.Now)),
	}, nil
}

// claims are the ones that Stark reads; all of them are kept verbatim beside.
type claims struct {
	jwt.RegisteredClaims
	Email     string `json:"email"`
	Role      string `json:"role"`
	SessionID string `json:"session_id"`
	Anonymous bool   `json:"is_anonymous"`
}

// Verify checks a token and gives who it speaks for, without roles. Failures are
// TokenExpired, TokenInvalid, or Unavailable when the keys cannot be had.
func (v *Verifier) Verify(ctx context.Context, token string) (access.Identity, error) {
	if strings.HasPrefix(token, "sb_") {
		return access.Identity{}, errAPIKey()
	}
	if len(token) > maxToken || strings.Count(token, ".") != 2 {
		return access.Identity{}, fault.New(fault.TokenInvalid, "the access token is not valid")
	}
	if id, ok := v.believed.get(token); ok {
		return id, nil
	}
	keys := v.keys.source.fetched.Load()
	id, err := v.verify(ctx, token)
	if err == nil {
		v.believed.put(token, id, keys)
	}
	return id, err
}

func (v *Verifier) verify(ctx context.Context, token string) (access.Identity, error) {
	var c claims
	parsed, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) { return v.key(ctx, t) })
	if err != nil && c.Subject == "" && (c.Role == "anon" || c.Role == "service_role") {
		return access.Identity{}, errAPIKey()
	}
	if err != nil {
		return access.Identity{}, verifyFault(err)
	}
	if _, critical := parsed.Header["crit"]; critical { // an extension that must be understood, which is not
		return access.Identity{}, fault.New(fault.TokenInvalid, "the access token is not valid")
	}
	if err := v.check(c); err != nil {
		return access.Identity{}, fault.Wrap(err, fault.TokenInvalid, "the access token is not valid")
	}
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return access.Identity{}, fault.New(fault.TokenInvalid, "the access token is not valid")
	}
	return access.Identity{
		UserID: strings.ToLower(c.Subject), Email: c.Email, Anonymous: c.Anonymous, SessionID: c.SessionID,
		ExpiresAt: c.ExpiresAt.Time, Claims: json.RawMessage(raw),
	}, nil
}

// key picks the key by the method: a shared secret never checks what claims to be
// signed asymmetrically, and the other way round.
func (v *Verifier) key(ctx context.Context, t *jwt.Token) (any, error) {
	switch t.Method.Alg() {
	case "HS256":
		if v.config.Secret == "" {
			return nil, errors.New("HS256 is not configured")
		}
		return []byte(v.config.Secret), nil
	case "ES256", "RS256":
		return v.keys.find(ctx, t)
	default:
		return nil, fmt.Errorf("signing method %q is not believed", t.Method.Alg())
	}
}

// check holds what the parser does not: the audience may be a string or a list,
// which jwt's own type takes both of, and API keys are no users.
func (v *Verifier) check(c claims) error {
	found := false
	for _, aud := range c.Audience {
		found = found || aud == v.config.Audience
	}
	switch {
	case !found:
		return errors.New("wrong audience")
	case c.Role != "authenticated":
		return errors.New("the token's role is not a user's")
	case !api.ValidID(c.Subject):
		return errors.New("the subject is not a user id")
	}
	return nil
}

// errAPIKey says what was mistaken for a token. It is said also of what only looks
// like a key: that gives nothing away.
func errAPIKey() error {
	return fault.New(fault.TokenInvalid, "this is an API key of the project, not a user's access token; sign in")
}

func verifyFault(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
		return fault.New(fault.TokenExpired, "the access token has expired")
	}
	return fault.Wrap(err, fault.TokenInvalid, "the access token is not valid")
}
