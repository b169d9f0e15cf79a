package rest

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// message is the data of answers that have nothing else to say.
type message struct {
	Message string `json:"message"`
}

// profile is the data of answers about one user.
type profile struct {
	User api.User `json:"user"`
}

type none struct{}

type registerInput struct {
	Body Body[api.RegisterRequest, *api.RegisterRequest]
}

type loginInput struct {
	Body Body[api.LoginRequest, *api.LoginRequest]
}

type refreshInput struct {
	Body Body[api.RefreshRequest, *api.RefreshRequest]
}

func (s *server) authRoutes() {
	register(s, operation{
		method: http.MethodPost, path: "/auth/register", id: "register", tag: "auth", rule: public,
		summary: "Make an account for oneself and sign in, where registration is open", status: http.StatusCreated,
		errors: []int{http.StatusForbidden, http.StatusConflict},
	}, s.register)
	register(s, operation{
		method: http.MethodPost, path: "/auth/login", id: "login", tag: "auth", rule: public,
		summary: "Sign in", errors: []int{http.StatusUnauthorized, http.StatusForbidden},
	}, s.login)
	register(s, operation{
		method: http.MethodPost, path: "/auth/refresh", id: "refresh", tag: "auth", rule: public,
		summary: "Exchange a refresh token for a new session", errors: []int{http.StatusUnauthorized, http.StatusForbidden},
	}, s.refresh)
	register(s, operation{
		method: http.MethodGet, path: "/auth/me", id: "whoami", tag: "auth", rule: signedIn,
		summary: "The caller's profile with the roles of this moment",
	}, s.whoami)
	register(s, operation{
		method: http.MethodPost, path: "/api/ws-ticket", id: "createTicket", tag: "auth", rule: signedIn,
		summary: "Make a ticket that opens one socket as the caller, for browsers; it is good for half a minute",
		status:  http.StatusCreated,
	}, s.createTicket)
	s.engine.POST("/auth/logout", s.logout)
	s.setupRoutes()
}

func (s *server) register(ctx context.Context, _ caller, in *registerInput) (api.Session, error) {
	req, err := in.Body.get()
	if err != nil {
		return api.Session{}, err
	}
	open, err := s.DB.OpenRegistration(ctx)
	if err != nil {
		return api.Session{}, err
	}
	if !open {
		s.audit(ctx, "account.register", false, "", slog.String("reason", "registration is closed"))
		return api.Session{}, fault.New(fault.Forbidden, "registration is closed here; ask an admin for an account")
	}
	session, err := s.Auth.SignUp(ctx, gotrue.NewUser{Email: req.Email, Password: req.Password, DisplayName: req.DisplayName})
	if err != nil {
		return api.Session{}, err
	}
	s.audit(ctx, "account.register", true, session.User.ID, slog.String("by", session.User.ID))
	return s.withRoles(ctx, session)
}

func (s *server) login(ctx context.Context, _ caller, in *loginInput) (api.Session, error) {
	req, err := in.Body.get()
	if err != nil {
		return api.Session{}, err
	}
	session, err := s.Auth.SignIn(ctx, req.Email, req.Password)
	if err != nil {
		return api.Session{}, err
	}
	return s.withRoles(ctx, session)
}

func (s *server) refresh(ctx context.Context, _ caller, in *refreshInput) (api.Session, error) {
	req, err := in.Body.get()
	if err != nil {
		return api.Session{}, err
	}
	session, err := s.Auth.Refresh(ctx, req.RefreshToken)
	if err != nil {
		return api.Session{}, err
	}
	return s.withRoles(ctx, session)
}

// withRoles adds what Auth does not know. The session stands even when the roles
// cannot be read now: a spent refresh token would otherwise be lost.
func (s *server) withRoles(ctx context.Context, session api.Session) (api.Session, error) {
	roles, _, err := s.DB.UserRoles(ctx, session.User.ID)
	if fault.CodeOf(err) == fault.Forbidden { // disabled, though Auth does not know it yet
		return api.Session{}, err
	}
	if err != nil {
		s.log.WarnContext(ctx, "a session goes out without roles", errAttr(err))
	}
	session.User.Roles = emptyIfNil(roles)
	return session, nil
}

func (s *server) whoami(ctx context.Context, who caller, _ *none) (profile, error) {
	user, err := s.DB.Profile(ctx, who.Identity)
	user.Roles = emptyIfNil(user.Roles)
	return profile{User: user}, err
}

func (s *server) createTicket(ctx context.Context, who caller, _ *none) (api.Ticket, error) {
	return s.DB.CreateTicket(ctx, who.Identity)
}

// logout ends the session of the token. A token that is no longer good has no
// session to end, so the caller's wish is fulfilled.
func (s *server) logout(c *gin.Context) {
	cancel := s.deadline(c, s.config.RequestTimeout)
	defer cancel()
	sess, found := sessionOf(c)
	if !found {
		s.abort(c, fault.New(fault.AuthenticationRequired, "send the access token of the session that is to end"))
		return
	}
	err := sess.err
	if err == nil {
		err = s.Auth.Logout(c.Request.Context(), sess.token)
		if err == nil && s.Ended != nil && sess.identity.SessionID != "" {
			s.Ended(sess.identity.SessionID)
		}
	}
	switch fault.CodeOf(err) {
	case "", fault.TokenExpired, fault.TokenInvalid, fault.UserNotFound:
		answer(c, http.StatusOK, message{Message: "signed out"})
	default:
		s.abort(c, err)
	}
}

func emptyIfNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
