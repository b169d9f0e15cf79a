package dispatch

import (
	"context"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// authenticate learns who speaks from a token: a node credential, a join token or
// a user's access token. A user may do so again, to renew; nobody may become
// somebody else.
func (s *session) authenticate(ctx context.Context, token string) error {
	id, join, err := s.identify(ctx, token)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known && (s.identity.UserID != id.UserID || s.identity.NodeID != id.NodeID || (s.joinToken == "") != (join == "")) {
		return fault.New(fault.Forbidden, "this connection belongs to somebody else")
	}
	s.identity, s.joinToken, s.known = id, join, true
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	if !id.ExpiresAt.IsZero() {
		s.expiry = time.AfterFunc(time.Until(id.ExpiresAt), func() { s.end(closeRefused, "the token has expired") })
	}
	return nil
}

func (s *session) identify(ctx context.Context, token string) (id access.Identity, join string, err error) {
	switch {
	case strings.HasPrefix(token, api.NodeCredentialPrefix):
		nodeID, err := s.d.DB.NodeByCredential(ctx, token)
		return access.Identity{NodeID: nodeID, Roles: []api.Role{api.RoleNode}}, "", err
	case strings.HasPrefix(token, api.JoinTokenPrefix):
		return access.Identity{}, token, s.d.DB.JoinTokenValid(ctx, token)
	}
	id, err = s.d.Verifier.Verify(ctx, token)
	if err != nil {
		return id, "", err
	}
	roles, found, err := s.d.DB.UserRoles(ctx, id.UserID)
	switch {
	case err != nil:
		return id, "", err
	case !found || id.Anonymous:
		return id, "", fault.New(fault.UserNotFound, "the token's user does not exist")
	}
	id.Roles = roles
	return id, "", nil
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
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.authenticate(call, a.Token); err != nil {
		return err
	}
	id, _ := s.who()
	s.reply(wire.TypeAuthenticated, e.CorrelationID, wire.Authenticated{UserID: id.UserID, NodeID: id.NodeID})
	return nil
}

// becomeNode makes a session the node's own: from now on it does not end with the
// token of the user who registered it.
func (s *session) becomeNode(nodeID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	s.identity = access.Identity{NodeID: nodeID, Roles: []api.Role{api.RoleNode}}
	s.joinToken = ""
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
		return Registrar{NodeID: s.identity.NodeID}, nil
	case s.joinToken != "":
		return Registrar{JoinToken: s.joinToken}, nil
	case !now.Can(access.Create, access.Node):
		return Registrar{}, fault.New(fault.Forbidden, "your role does not allow you to register nodes")
	default:
		return Registrar{UserID: s.identity.UserID, Shared: now.Staff()}, nil
	}
}
