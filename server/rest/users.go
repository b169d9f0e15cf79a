package rest

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

type listUsersInput struct {
	Role   string `query:"role" doc:"only users with this role" enum:"admin,operator,developer,viewer"`
	Search string `query:"search" maxLength:"256" doc:"part of the e-mail or display name"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"50"`
	Offset int    `query:"offset" minimum:"0" maximum:"1000000"`
}

type userList struct {
	Users []api.User `json:"users"`
	Count int        `json:"count" doc:"of all that match"`
}

type createUserInput struct {
	Body Body[api.CreateUserRequest, *api.CreateUserRequest]
}

func (s *server) userRoutes() {
	register(s, operation{
		method: http.MethodGet, path: "/auth/users", id: "listUsers", tag: "auth", rule: may(access.Read, access.User),
		summary: "List accounts",
	}, s.listUsers)
	register(s, operation{
		method: http.MethodPost, path: "/auth/users", id: "createUser", tag: "auth", rule: may(access.Create, access.User),
		summary: "Make an account with roles", status: http.StatusCreated, errors: []int{http.StatusConflict},
	}, s.createUser)
	register(s, operation{
		method: http.MethodGet, path: "/auth/users/{id}", id: "getUser", tag: "auth", rule: may(access.Read, access.User),
		summary: "One account",
	}, s.getUser)
	s.accountRoutes()
}

func (s *server) getUser(ctx context.Context, who caller, in *IDInput) (profile, error) {
	id, err := in.uuid()
	if err != nil {
		return profile{}, err
	}
	user, err := s.DB.GetUser(ctx, who.Identity, id)
	return profile{User: user}, err
}

func (s *server) listUsers(ctx context.Context, who caller, in *listUsersInput) (userList, error) {
	users, count, err := s.DB.ListUsers(ctx, who.Identity, api.UserQuery{
		Role: api.Role(in.Role), Search: in.Search, Limit: in.Limit, Offset: in.Offset,
	})
	return userList{Users: emptyIfNil(users), Count: count}, err
}

// userMadeBefore gives the account that an earlier try of this very request has left,
// perhaps without its roles, where err says that there is one; else err.
func (s *server) userMadeBefore(ctx context.Context, who caller, email string, err error) (api.User, error) {
	if who.objectID == "" || fault.CodeOf(err) != fault.Conflict {
		return api.User{}, err
	}
	found, _, listErr := s.DB.ListUsers(ctx, who.Identity, api.UserQuery{Search: email, Limit: api.MaxPageSize})
	if listErr != nil {
		return api.User{}, listErr
	}
	for _, u := range found {
		if !strings.EqualFold(u.Email, email) {
			continue
		}
		switch ours, askErr := s.Auth.AdminMadeBy(ctx, u.ID, who.objectID); {
		case askErr != nil:
			return api.User{}, askErr
		case ours:
			return u, nil
		}
	}
	return api.User{}, err
}

// createUser makes an account and gives it its roles; without the roles there is
// no account.
func (s *server) createUser(ctx context.Context, who caller, in *createUserInput) (profile, error) {
	req, err := in.Body.get()
	if err != nil {
		return profile{}, err
	}
	user, err := s.Auth.AdminCreateUser(ctx, gotrue.NewUser{
		Email: req.Email, Password: req.Password, DisplayName: req.DisplayName, Request: who.objectID,
	})
	if err != nil {
		if user, err = s.userMadeBefore(ctx, who, req.Email, err); err != nil {
			return profile{}, err
		}
	}
	if err := s.DB.SetRoles(ctx, who.Identity, user.ID, req.Roles); err != nil {
		s.removeUser(ctx, user.ID)
		return profile{}, err
	}
	s.audit(ctx, "account.create", true, user.ID, slog.String("by", who.UserID), slog.Any("roles", req.Roles))
	user.Roles = req.Roles
	return profile{User: user}, nil
}
