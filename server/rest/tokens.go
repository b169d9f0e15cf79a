package rest

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

type createTokenInput struct {
	Body Body[api.CreateJoinTokenRequest, *api.CreateJoinTokenRequest]
}

type oneToken struct {
	Token api.JoinToken `json:"token"`
}

type tokenList struct {
	Tokens []api.JoinToken `json:"tokens"`
}

func (s *server) tokenRoutes() {
	register(s, operation{
		method: http.MethodPost, path: "/api/node-tokens", id: "createNodeToken", tag: "node tokens", rule: may(access.Create, access.JoinToken),
		summary: "Make a join token; this answer alone shows it", status: http.StatusCreated,
	}, s.createToken)
	register(s, operation{
		method: http.MethodGet, path: "/api/node-tokens", id: "listNodeTokens", tag: "node tokens", rule: may(access.Read, access.JoinToken),
		summary: "List join tokens, without the secrets, with their state",
	}, s.listTokens)
	register(s, operation{
		method: http.MethodDelete, path: "/api/node-tokens/{id}", id: "revokeNodeToken", tag: "node tokens", rule: may(access.Delete, access.JoinToken),
		summary: "Revoke a join token",
	}, s.revokeToken)
	register(s, operation{
		method: http.MethodPost, path: "/api/nodes/{id}/credential/rotate", id: "rotateNodeCredential", tag: "nodes", rule: may(access.Update, access.Node),
		summary: "Give a node a new credential, at once or when it comes back; the old one ends when the node has it",
	}, s.rotateCredential)
	register(s, operation{
		method: http.MethodPost, path: "/api/nodes/leave", id: "leaveNode", tag: "nodes", rule: public,
		summary: "Take a node out of the cluster whose program is about to end, as a closing tab does; the token is the node's credential",
		errors:  []int{http.StatusUnauthorized},
	}, s.leaveNode)
	register(s, operation{
		method: http.MethodDelete, path: "/api/nodes/{id}/credential", id: "revokeNodeCredential", tag: "nodes", rule: may(access.Update, access.Node),
		summary: "End the credential of a node and its connection; it must be registered anew",
	}, s.revokeCredential)
	register(s, operation{
		method: http.MethodPost, path: "/api/nodes/{id}/take", id: "takeNode", tag: "nodes", rule: may(access.Update, access.Node),
		summary: "Answer for a node of the staff, or one that nobody answers for; it serves everybody from then on",
	}, s.takeNode)
}

func (s *server) createToken(ctx context.Context, who caller, in *createTokenInput) (oneToken, error) {
	req, err := in.Body.get()
	if err != nil {
		return oneToken{}, err
	}
	req.ID = who.objectID
	token, err := s.DB.CreateJoinToken(ctx, who.Identity, req)
	s.audit(ctx, "joinToken.create", err == nil, "", slog.String("by", who.UserID), slog.String("inviteId", token.ID))
	completeToken(&token)
	return oneToken{Token: token}, err
}

func (s *server) listTokens(ctx context.Context, who caller, _ *none) (tokenList, error) {
	tokens, err := s.DB.ListJoinTokens(ctx, who.Identity)
	for i := range tokens {
		tokens[i].Token = "" // whatever the database gave
		completeToken(&tokens[i])
	}
	return tokenList{Tokens: emptyIfNil(tokens)}, err
}

func (s *server) revokeToken(ctx context.Context, who caller, in *IDInput) (message, error) {
	id, err := in.uuid()
	if err != nil {
		return message{}, err
	}
	err = s.DB.RevokeJoinToken(ctx, who.Identity, id)
	s.audit(ctx, "joinToken.revoke", err == nil, "", slog.String("by", who.UserID), slog.String("inviteId", id))
	if err != nil {
		return message{}, err
	}
	return message{Message: "revoked"}, nil
}

func (s *server) rotateCredential(ctx context.Context, who caller, in *IDInput) (message, error) {
	return s.changeCredential(ctx, who, in, "credential.rotate", s.DB.RotateCredential, "the node gets a new credential")
}

func (s *server) revokeCredential(ctx context.Context, who caller, in *IDInput) (message, error) {
	return s.changeCredential(ctx, who, in, "credential.revoke", s.DB.RevokeCredentials, "revoked")
}

func (s *server) takeNode(ctx context.Context, who caller, in *IDInput) (oneNode, error) {
	id, err := in.uuid()
	if err != nil {
		return oneNode{}, err
	}
	n, err := s.DB.TakeNode(ctx, who.Identity, id)
	s.audit(ctx, "node.take", err == nil, "", slog.String("by", who.UserID), slog.String("nodeId", id))
	return s.nodeAnswer(n, err)
}

func (s *server) changeCredential(
	ctx context.Context, who caller, in *IDInput, action string, change func(context.Context, access.Identity, string) error, done string,
) (message, error) {
	id, err := in.uuid()
	if err != nil {
		return message{}, err
	}
	err = change(ctx, who.Identity, id)
	s.audit(ctx, action, err == nil, "", slog.String("by", who.UserID), slog.String("nodeId", id))
	if err != nil {
		return message{}, err
	}
	return message{Message: done}, nil
}

type leaveInput struct {
	Authorization string `header:"Authorization" doc:"Bearer and the credential of the node"`
	Body          Body[api.LeaveNodeRequest, *api.LeaveNodeRequest]
}

// leaveNode takes the last words of a tab that is closed. Its socket may end before or
// after that, and a tab that is reloaded may be back already: so only the connection
// that it names is over.
func (s *server) leaveNode(ctx context.Context, _ caller, in *leaveInput) (message, error) {
	req, err := in.Body.get()
	if err != nil {
		return message{}, err
	}
	credential, found := bearer(in.Authorization)
	if !found || !strings.HasPrefix(credential, api.NodeCredentialPrefix) {
		return message{}, fault.New(fault.AuthenticationRequired, "send the credential of the node: Authorization: Bearer <credential>")
	}
	if err := s.DB.LeaveNode(ctx, credential, req.ConnectionID); err != nil {
		return message{}, err
	}
	return message{Message: "left"}, nil
}

func completeToken(t *api.JoinToken) {
	t.Labels, t.Taints = emptyMap(t.Labels), emptyIfNil(t.Taints)
}
