package rest

import (
	"context"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// session is what the bearer token of a request said.
type session struct {
	identity access.Identity // without roles until admitted
	token    string
	err      error // why the token is not believed
}

// caller is who an admitted request comes from.
type caller struct {
	access.Identity
	token string // for calls on the user's behalf; never logged
	stale *bool  // set by handlers that answer from the read model

	objectID string // of what a request with an Idempotency-Key makes; else ""
}

type callerKey struct{}

func callerFrom(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

const sessionKey = "stark.session"

func sessionOf(c *gin.Context) (session, bool) {
	v, found := c.Get(sessionKey)
	s, isSession := v.(session)
	return s, found && isSession
}

// authenticate verifies the token of a request where there is one. What follows
// from its lack or fault is for admit to say: public endpoints do not care.
func (s *server) authenticate(c *gin.Context) {
	token, found := bearer(c.GetHeader("Authorization"))
	if found && c.FullPath() != "" {
		id, err := s.Verifier.Verify(c.Request.Context(), token)
		c.Set(sessionKey, session{identity: id, token: token, err: err})
	}
	c.Next()
}

func bearer(header string) (string, bool) {
	scheme, token, found := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	return token, found && strings.EqualFold(scheme, "Bearer") && token != ""
}

// admit lets a request through to its handler with its caller in the context, or
// answers it.
func (s *server) admit(c *gin.Context, r rule) bool {
	if r.open {
		return true
	}
	who, err := s.callerOf(c)
	if err == nil {
		err = permit(who.Identity, r)
	}
	if err != nil {
		s.abort(c, err)
		return false
	}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), callerKey{}, who))
	return true
}

func (s *server) callerOf(c *gin.Context) (caller, error) {
	sess, found := sessionOf(c)
	if !found {
		return caller{}, fault.New(fault.AuthenticationRequired, "send an access token: Authorization: Bearer <token>")
	}
	if sess.err != nil {
		return caller{}, s.whyRefused(c.Request.Context(), sess)
	}
	roles, known, err := s.roles.of(c.Request.Context(), sess.identity.UserID)
	if err != nil {
		return caller{}, err
	}
	if !known {
		return caller{}, errNoUser()
	}
	sess.identity.Roles = roles
	return caller{Identity: sess.identity, token: sess.token, stale: new(bool)}, nil
}

func errNoUser() error {
	return fault.New(fault.UserNotFound, "the user of this token does not exist any more")
}

// whyRefused tells a session that has ended from a user who is gone or disabled, and
// with them all their sessions.
func (s *server) whyRefused(ctx context.Context, sess session) error {
	if sess.identity.UserID == "" { // nobody vouches for who it is
		return sess.err
	}
	_, known, err := s.DB.UserRoles(ctx, sess.identity.UserID)
	switch {
	case err == nil && !known:
		return errNoUser()
	case fault.CodeOf(err) == fault.Forbidden: // disabled
		return err
	default:
		return sess.err
	}
}

// permit says no with what would be needed.
func permit(id access.Identity, r rule) error {
	if r.any || id.Can(r.action, r.kind) {
		return nil
	}
	var needed []api.Role
	for _, role := range api.UserRoles {
		if access.Allowed(role, r.action, r.kind) {
			needed = append(needed, role)
		}
	}
	e := fault.New(fault.Forbidden, "your roles do not allow to %s a %s", r.action, r.kind)
	e.Details = map[string]any{"action": r.action, "subject": r.kind, "requiredRoles": needed}
	return e
}
