package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/bcrypt"

	"github.com/stark-orchestrator/stark/supabase/devstack/keys"
)

// LeastPasswordCost is the lowest cost at which bcrypt hashes.
const LeastPasswordCost = bcrypt.MinCost

// Config is what the service needs. Zero values of the settings mean what the field says, not a default:
// start from Defaults.
type Config struct {
	// Pool is logged in as supabase_auth_admin.
	Pool *pgxpool.Pool
	Keys *keys.Set
	// Issuer becomes the claim iss: the public address of the service, ending in /auth/v1.
	Issuer string

	TokenLife       time.Duration // of access tokens
	ReuseInterval   time.Duration // how long a used refresh token may be used again
	Rotate          bool          // each refresh gives a new refresh token
	MinPassword     int
	PasswordCost    int      // of bcrypt, from LeastPasswordCost to 31
	PasswordClasses []string // each holds characters of which a password needs at least one
	SignUp          bool
	Anonymous       bool // sign-up without an e-mail address
	AutoConfirm     bool // addresses count as confirmed at once; without it nobody can confirm: no mail is sent
	// RateLimitHeader names the header, such as X-Forwarded-For, by which callers of /token are told apart and
	// limited. Empty, as in the Supabase CLI, means no limit.
	RateLimitHeader string
	// Hook names the custom access token function as schema and name; empty means none.
	Hook   pgx.Identifier
	Logger *slog.Logger
}

// Defaults are the settings of a local Supabase.
func Defaults() Config {
	return Config{
		TokenLife: time.Hour, ReuseInterval: 10 * time.Second, Rotate: true,
		MinPassword: 6, PasswordCost: bcrypt.DefaultCost, SignUp: true, AutoConfirm: true,
	}
}

func (c Config) check() error {
	var errs []error
	if c.Pool == nil {
		errs = append(errs, errors.New("the pool is missing"))
	}
	if c.Keys == nil {
		errs = append(errs, errors.New("the keys are missing"))
	}
	if c.TokenLife <= 0 {
		errs = append(errs, errors.New("the life of tokens must be positive"))
	}
	if len(c.Hook) != 0 && len(c.Hook) != 2 {
		errs = append(errs, errors.New("the hook needs schema and function"))
	}
	if c.PasswordCost < LeastPasswordCost || c.PasswordCost > bcrypt.MaxCost {
		errs = append(errs, fmt.Errorf("the cost of passwords must be from %d to %d, not %d", LeastPasswordCost, bcrypt.MaxCost, c.PasswordCost))
	}
	return errors.Join(errs...)
}
