package rest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// LocalInput is an input that knows where the request came from.
type LocalInput struct{ request *http.Request }

// Resolve satisfies huma.Resolver.
func (l *LocalInput) Resolve(ctx huma.Context) []error {
	l.request = humagin.Unwrap(ctx).Request
	return nil
}

type setupStatusInput struct{ LocalInput }

type setupInput struct {
	LocalInput
	Body Body[api.RegisterRequest, *api.RegisterRequest]
}

func (s *server) setupRoutes() {
	register(s, operation{
		method: http.MethodGet, path: "/auth/setup/status", id: "setupStatus", tag: "auth", rule: public,
		summary: "Whether there is an admin yet",
	}, s.setupStatus)
	register(s, operation{
		method: http.MethodPost, path: "/auth/setup", id: "setup", tag: "auth", rule: public,
		summary: "Make the first admin; from another machine it needs the code that the server printed",
		status:  http.StatusCreated, errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict},
	}, s.setup)
}

func (s *server) setupStatus(ctx context.Context, _ caller, in *setupStatusInput) (api.SetupStatus, error) {
	status, err := s.DB.SetupStatus(ctx)
	if err != nil {
		return api.SetupStatus{}, err
	}
	status.CodeRequired = status.NeedsSetup && !s.local(in.request)
	if status.CodeRequired {
		status.UserCount = 0 // nobody's business from afar
	}
	return status, nil
}

// setup makes the first admin, exactly once: the database decides who is first,
// and whoever comes second leaves no account behind.
func (s *server) setup(ctx context.Context, _ caller, in *setupInput) (api.Session, error) {
	req, err := in.Body.get()
	if err != nil {
		return api.Session{}, err
	}
	status, err := s.DB.SetupStatus(ctx)
	switch {
	case err != nil:
		return api.Session{}, err
	case !status.NeedsSetup:
		return api.Session{}, setupDone()
	case !s.local(in.request) && !s.codeFits(req.SetupCode):
		return api.Session{}, fault.New(fault.Forbidden, "from another machine, setup needs the code that the server printed when it started")
	}
	user, made, err := s.setupUser(ctx, req)
	if err != nil {
		return api.Session{}, err
	}
	first, err := s.DB.ClaimFirstAdmin(ctx, user.ID)
	if err == nil && !first {
		err = setupDone()
	}
	if err != nil {
		if made {
			s.removeUser(ctx, user.ID)
		}
		return api.Session{}, err
	}
	s.audit(ctx, "setup", true, user.ID, slog.String("by", user.ID))
	session, err := s.Auth.SignIn(ctx, req.Email, req.Password)
	if err != nil {
		return api.Session{}, err
	}
	return s.withRoles(ctx, session)
}

func setupDone() error {
	return fault.New(fault.Forbidden, "there is an admin already; ask them for an account")
}

// setupUser makes the account, or takes the one that exists when the password is
// its own.
func (s *server) setupUser(ctx context.Context, req api.RegisterRequest) (user api.User, made bool, err error) {
	user, err = s.Auth.AdminCreateUser(ctx, gotrue.NewUser{Email: req.Email, Password: req.Password, DisplayName: req.DisplayName})
	if fault.CodeOf(err) != fault.Conflict {
		return user, err == nil, err
	}
	session, err := s.Auth.SignIn(ctx, req.Email, req.Password)
	return session.User, false, err
}

// removeUser takes back an account that must not stay, also when the caller has
// gone.
func (s *server) removeUser(ctx context.Context, userID string) {
	const enough = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), enough)
	defer cancel()
	if err := s.Auth.AdminDeleteUser(ctx, userID); err != nil {
		s.log.ErrorContext(ctx, "an account that was made in vain could not be removed", slog.String("userId", userID), errAttr(err))
	}
}

func (s *server) codeFits(code string) bool {
	return s.config.SetupCode != "" && sameSecret(s.config.SetupCode, code)
}

// sameSecret compares without telling by its duration how much is the same.
func sameSecret(want, got string) bool {
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(got))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func errAttr(err error) slog.Attr { return slog.Any("error", err) }
