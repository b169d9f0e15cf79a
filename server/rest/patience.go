package rest

import (
	"context"
	"errors"
	"time"

	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	authSlow    = 1500 * time.Millisecond // a call to Auth that takes longer makes us ask for the database
	authProbe   = 3 * time.Second         // also for a connection of the pool, whose users may all be busy
	authReturns = 2 * time.Second         // told to callers as the time to come back
)

// patientAuth gives up calls to Auth that cannot end, since the database that Auth
// and we share does not answer. A call that is merely slow goes on.
type patientAuth struct {
	IdentityProvider
	ping func(context.Context) error
}

var errNoDatabase = errors.New("the database does not answer")

func patiently[T any](ctx context.Context, p patientAuth, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(authSlow, func() {
		probe, stop := context.WithTimeout(ctx, authProbe)
		defer stop()
		if p.ping(probe) != nil && ctx.Err() == nil {
			cancel(errNoDatabase)
		}
	})
	defer timer.Stop()
	v, err := call(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errNoDatabase) {
		f := fault.Wrap(err, fault.Unavailable, "the database is not available")
		f.RetryAfter = authReturns
		err = f
	}
	return v, err
}

// SignUp implements IdentityProvider.
func (p patientAuth) SignUp(ctx context.Context, u gotrue.NewUser) (api.Session, error) {
	return patiently(ctx, p, func(ctx context.Context) (api.Session, error) { return p.IdentityProvider.SignUp(ctx, u) })
}

// SignIn implements IdentityProvider.
func (p patientAuth) SignIn(ctx context.Context, email, password string) (api.Session, error) {
	return patiently(ctx, p, func(ctx context.Context) (api.Session, error) { return p.IdentityProvider.SignIn(ctx, email, password) })
}

// Refresh implements IdentityProvider.
func (p patientAuth) Refresh(ctx context.Context, refreshToken string) (api.Session, error) {
	return patiently(ctx, p, func(ctx context.Context) (api.Session, error) { return p.IdentityProvider.Refresh(ctx, refreshToken) })
}

// Logout implements IdentityProvider.
func (p patientAuth) Logout(ctx context.Context, token string) error {
	_, err := patiently(ctx, p, func(ctx context.Context) (none, error) { return none{}, p.IdentityProvider.Logout(ctx, token) })
	return err
}

// AdminCreateUser implements IdentityProvider.
func (p patientAuth) AdminCreateUser(ctx context.Context, u gotrue.NewUser) (api.User, error) {
	return patiently(ctx, p, func(ctx context.Context) (api.User, error) { return p.IdentityProvider.AdminCreateUser(ctx, u) })
}

// AdminSetBanned implements IdentityProvider.
func (p patientAuth) AdminSetBanned(ctx context.Context, userID string, banned bool) error {
	_, err := patiently(ctx, p, func(ctx context.Context) (none, error) {
		return none{}, p.IdentityProvider.AdminSetBanned(ctx, userID, banned)
	})
	return err
}
