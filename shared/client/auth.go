package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Register makes an account and signs it in.
func (c *Client) Register(ctx context.Context, r api.RegisterRequest) (api.Session, error) {
	return c.session(ctx, r, "auth", "register")
}

// Login signs in.
func (c *Client) Login(ctx context.Context, r api.LoginRequest) (api.Session, error) {
	return c.session(ctx, r, "auth", "login")
}

// RefreshSession exchanges a refresh token for a new session; the token is then spent.
func (c *Client) RefreshSession(ctx context.Context, refreshToken string) (api.Session, error) {
	return c.session(ctx, api.RefreshRequest{RefreshToken: refreshToken}, "auth", "refresh")
}

// Setup makes the first admin and signs it in.
func (c *Client) Setup(ctx context.Context, r api.RegisterRequest) (api.Session, error) {
	return c.session(ctx, r, "auth", "setup")
}

// SetupStatus tells whether there is an admin yet.
func (c *Client) SetupStatus(ctx context.Context) (api.SetupStatus, error) {
	var out api.SetupStatus
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"auth", "setup", "status"}, anonymous: true}, &out)
	return out, err
}

// Logout ends the session of the token.
func (c *Client) Logout(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodPost, path: []string{"auth", "logout"}}, nil)
}

// CreateTicket makes a ticket that opens one socket as the caller.
func (c *Client) CreateTicket(ctx context.Context) (api.Ticket, error) {
	var out api.Ticket
	err := c.do(ctx, call{method: http.MethodPost, path: []string{"api", "ws-ticket"}}, &out)
	return out, err
}

// Whoami gives the profile of the caller, with the roles of this moment.
func (c *Client) Whoami(ctx context.Context) (api.User, error) {
	return c.user(ctx, call{method: http.MethodGet, path: []string{"auth", "me"}})
}

// CreateUser makes an account; only admins may.
func (c *Client) CreateUser(ctx context.Context, r api.CreateUserRequest) (api.User, error) {
	return c.user(ctx, call{method: http.MethodPost, path: []string{"auth", "users"}, once: true}.jsonBody(r))
}

// GetUser gives one account; staff only may.
func (c *Client) GetUser(ctx context.Context, id string) (api.User, error) {
	return c.user(ctx, call{method: http.MethodGet, path: []string{"auth", "users", id}})
}

// GrantRoles adds roles to an account's; only admins may.
func (c *Client) GrantRoles(ctx context.Context, id string, roles []api.Role) (api.User, error) {
	return c.user(ctx, call{method: http.MethodPost, path: []string{"auth", "users", id, "roles"}, once: true}.jsonBody(api.GrantRolesRequest{Roles: roles}))
}

// RevokeRole takes a role from an account; only admins may.
func (c *Client) RevokeRole(ctx context.Context, id string, role api.Role) (api.User, error) {
	return c.user(ctx, call{method: http.MethodDelete, path: []string{"auth", "users", id, "roles", string(role)}})
}

// SetUserDisabled shuts an account out, or lets it in again; only admins may.
func (c *Client) SetUserDisabled(ctx context.Context, id string, disabled bool) (api.User, error) {
	what := "enable"
	if disabled {
		what = "disable"
	}
	return c.user(ctx, call{method: http.MethodPost, path: []string{"auth", "users", id, what}, once: true})
}

func (c *Client) user(ctx context.Context, how call) (api.User, error) {
	var out struct {
		User api.User `json:"user"`
	}
	err := c.do(ctx, how, &out)
	return out.User, err
}

// ListUsers lists accounts; only admins may. The number counts all that match.
func (c *Client) ListUsers(ctx context.Context, q api.UserQuery) ([]api.User, int, error) {
	var out struct {
		Users []api.User `json:"users"`
		Count int        `json:"count"`
	}
	v := url.Values{}
	set(v, "role", string(q.Role))
	set(v, "search", q.Search)
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Offset > 0 {
		v.Set("offset", strconv.Itoa(q.Offset))
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"auth", "users"}, query: v}, &out)
	return out.Users, out.Count, err
}

func (c *Client) session(ctx context.Context, body any, path ...string) (api.Session, error) {
	var out api.Session
	err := c.do(ctx, call{method: http.MethodPost, path: path, anonymous: true}.jsonBody(body), &out)
	return out, err
}

// set adds a parameter unless it is empty.
func set(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}

func pageValues(q api.PageQuery) url.Values {
	v := url.Values{}
	if q.Page > 0 {
		v.Set("page", strconv.Itoa(q.Page))
	}
	if q.PageSize > 0 {
		v.Set("pageSize", strconv.Itoa(q.PageSize))
	}
	return v
}
