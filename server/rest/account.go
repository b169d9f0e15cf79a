package rest

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

type grantRolesInput struct {
	IDInput
	IfMatchInput
	Body Body[api.GrantRolesRequest, *api.GrantRolesRequest]
}

type revokeRoleInput struct {
	IDInput
	IfMatchInput
	Role string `path:"role" enum:"admin,operator,developer,viewer"`
}

// accountRoutes are those that change what an account may do.
func (s *server) accountRoutes() {
	rule := may(access.Update, access.User)
	conflict := []int{http.StatusConflict}
	register(s, operation{
		method: http.MethodPost, path: "/auth/users/{id}/roles", id: "grantRoles", tag: "auth", rule: rule, errors: conflict,
		summary: "Give an account more roles",
	}, s.grantRoles)
	register(s, operation{
		method: http.MethodDelete, path: "/auth/users/{id}/roles/{role}", id: "revokeRole", tag: "auth", rule: rule, errors: conflict,
		summary: "Take a role from an account; the last admin keeps theirs",
	}, s.revokeRole)
	register(s, operation{
		method: http.MethodPost, path: "/auth/users/{id}/disable", id: "disableUser", tag: "auth", rule: rule, errors: conflict,
		summary: "Shut an account out at once: no roles, no sign-in, until it is enabled; the last admin stays",
	}, s.disableUser)
	register(s, operation{
		method: http.MethodPost, path: "/auth/users/{id}/enable", id: "enableUser", tag: "auth", rule: rule,
		summary: "Let a disabled account in again, with the roles that it had",
	}, s.enableUser)
}

func (s *server) grantRoles(ctx context.Context, who caller, in *grantRolesInput) (profile, error) {
	id, err := in.uuid()
	if err != nil {
		return profile{}, err
	}
	req, err := in.Body.get()
	if err != nil {
		return profile{}, err
	}
	user, err := s.DB.GrantRoles(ctx, who.Identity, id, req.Roles)
	s.roles.forget(id)
	s.audit(ctx, "roles.grant", err == nil, id, slog.String("by", who.UserID), slog.Any("roles", req.Roles))
	return profile{User: user}, err
}

func (s *server) revokeRole(ctx context.Context, who caller, in *revokeRoleInput) (profile, error) {
	id, err := in.uuid()
	if err != nil {
		return profile{}, err
	}
	user, err := s.DB.RevokeRole(ctx, who.Identity, id, api.Role(in.Role))
	s.roles.forget(id)
	s.audit(ctx, "roles.revoke", err == nil, id, slog.String("by", who.UserID), slog.String("role", in.Role))
	return profile{User: user}, err
}

// disableUser shuts the door of Stark first, which the database decides, and then
// that of Auth. Where Auth cannot be told, asking again ends the matter.
func (s *server) disableUser(ctx context.Context, who caller, in *IDInput) (profile, error) {
	return s.setDisabled(ctx, who, in, "account.disable", true)
}

// enableUser opens both doors in the same order: an account that can sign in but
// is disabled here is refused, and the other way round nothing is lost.
func (s *server) enableUser(ctx context.Context, who caller, in *IDInput) (profile, error) {
	return s.setDisabled(ctx, who, in, "account.enable", false)
}

func (s *server) setDisabled(ctx context.Context, who caller, in *IDInput, action string, disabled bool) (profile, error) {
	id, err := in.uuid()
	if err != nil {
		return profile{}, err
	}
	user, err := s.DB.SetDisabled(ctx, id, disabled, who.UserID)
	s.roles.forget(id)
	if err == nil {
		err = s.Auth.AdminSetBanned(ctx, id, disabled)
	}
	s.audit(ctx, action, err == nil, id, slog.String("by", who.UserID))
	return profile{User: user}, err
}

// audit writes the line that tells who changed what: about an account, or with an empty
// userID about what the attributes name.
func (s *server) audit(ctx context.Context, action string, done bool, userID string, attrs ...slog.Attr) {
	all := []slog.Attr{slog.String("action", action), slog.Bool("done", done)}
	if userID != "" {
		all = append(all, slog.String("userId", userID))
	}
	all = append(all, attrs...)
	s.log.LogAttrs(ctx, slog.LevelInfo, "audit", all...)
}
