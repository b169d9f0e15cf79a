package dispatch

import (
	"context"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// credentials are what a token has shown.
type credentials struct {
	identity   access.Identity
	join       string // the join token itself: it is used up by the registration
	credential string // id of a node's credential
}

// present is authenticate for a session that may be a node's, which needs a place then.
func (s *session) present(ctx context.Context, token string) error {
	if speaksForNode(token) {
		if err := s.takePlace(); err != nil {
			return err
		}
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := s.authenticate(call, token)
	if err != nil {
		s.leavePlace()
	}
	return err
}

// authenticate learns who speaks from a token: a node credential, a join token, a
// user's access token or a ticket. A user may do so again, to renew; nobody may
// become somebody else.
func (s *session) authenticate(ctx context.Context, token string) error {
	shown, err := s.identify(ctx, token)
	if err != nil {
		return err
	}
	id := shown.identity
	if id.UserID != "" {
		watch.Source{Store: s.d.Store, Log: s.d.Log}.AwaitRoles(ctx, id.UserID, id.Roles)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known && (s.identity.UserID != id.UserID || s.identity.NodeID != id.NodeID || (s.joinToken == "") != (shown.join == "")) {
		return fault.New(fault.Forbidden, "this connection belongs to somebody else")
	}
	s.identity, s.joinToken, s.credential, s.known = id, shown.join, shown.credential, true
	s.namespaces = s.d.memberships(id.UserID)
	if _, seen := s.d.Store.Users.Snapshot().Get(id.UserID); seen {
		s.met.Store(true)
	}
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	if !id.ExpiresAt.IsZero() {
		s.expiry = time.AfterFunc(id.ExpiresAt.Sub(s.d.Now()), func() { s.end(closeRefused, "the token has expired") })
	}
	return nil
}

func (s *session) identify(ctx context.Context, token string) (credentials, error) {
	switch {
	case strings.HasPrefix(token, api.NodeCredentialPrefix):
		c, err := s.d.DB.NodeByCredential(ctx, token)
		return credentials{identity: access.Identity{NodeID: c.NodeID, Roles: []api.Role{api.RoleNode}}, credential: c.ID}, err
	case strings.HasPrefix(token, api.JoinTokenPrefix):
		return credentials{join: token}, s.d.DB.JoinTokenValid(ctx, token)
	}
	id, err := s.user(ctx, token)
	if err != nil {
		return credentials{}, err
	}
	roles, found, err := s.d.DB.UserRoles(ctx, id.UserID)
	switch {
	case err != nil:
		return credentials{}, err
	case !found || id.Anonymous:
		return credentials{}, fault.New(fault.UserNotFound, "the token's user does not exist")
	}
	id.Roles = roles
	return credentials{identity: id}, nil
}

// user gives whose access token or ticket this is. A ticket is as good as the
// session of the token that it was made with.
func (s *session) user(ctx context.Context, token string) (access.Identity, error) {
	if !strings.HasPrefix(token, api.TicketPrefix) {
		return s.d.Verifier.Verify(ctx, token)
	}
	id, err := s.d.DB.RedeemTicket(ctx, token)
	if err == nil {
		err = s.d.Verifier.Alive(ctx, id)
	}
	return id, err
}

// onAuthenticate handles TypeAuthenticate.
func (s *session) onAuthenticate(ctx context.Context, e wire.Envelope) error {
	a, err := decode[wire.Authenticate](e)
	if err != nil {
		return err
	}
	if a.Token == "" {
		return fault.New(fault.TokenInvalid, "the message has no token")
	}
	if err := s.present(ctx, a.Token); err != nil {
		return err
	}
	id, _ := s.who()
	s.reply(wire.TypeAuthenticated, e.CorrelationID, wire.Authenticated{UserID: id.UserID, NodeID: id.NodeID})
	return nil
}

// becomeNode makes a session the node's own: from now on it does not end with the
// token of the user who registered it, but with the node's credential.
func (s *session) becomeNode(reg Registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	s.identity = access.Identity{NodeID: reg.Node.ID, Roles: []api.Role{api.RoleNode}}
	s.joinToken, s.namespaces = "", nil
	s.credential, s.unconfirmed = reg.CredentialID, reg.Credential != ""
	s.left.Store(false)
}

// forgetTimers ends what would wake after the session.
func (s *session) forgetTimers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expiry != nil {
		s.expiry.Stop()
	}
}

// registrar says by what right this session registers a node.
func (s *session) registrar() (Registrar, error) {
	now := s.viewer()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.known:
		return Registrar{}, fault.New(fault.AuthenticationRequired, "authenticate first")
	case s.identity.NodeID != "":
		return Registrar{NodeID: s.identity.NodeID, CredentialID: s.credential}, nil
	case s.joinToken != "":
		return Registrar{JoinToken: s.joinToken}, nil
	case !now.Can(access.Create, access.Node):
		return Registrar{}, fault.New(fault.Forbidden, "your role does not allow you to register nodes")
	default:
		return Registrar{UserID: s.identity.UserID, Shared: now.Staff()}, nil
	}
}

// joining reports whether the session has shown a join token and not registered yet.
func (s *session) joining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joinToken != ""
}
