// Package gotrue speaks to Supabase Auth: it signs people up and in, renews and
// ends sessions, and makes users with the service key. It is the only importer of
// gotrue-go. It verifies no token (server/rest/auth does) and keeps no session.
package gotrue

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/supabase-community/gotrue-go/types"

	"github.com/stark-orchestrator/stark/server/supabase"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Client speaks to one project's Auth. It is safe for concurrent use.
type Client struct {
	factory *supabase.Factory
}

// New makes a Client for the project at url.
func New(url, anonKey, serviceKey string) (*Client, error) {
	f, err := supabase.NewFactory(supabase.Config{URL: url, AnonKey: anonKey, ServiceKey: serviceKey})
	if err != nil {
		return nil, err
	}
	return NewWithFactory(f), nil
}

// NewWithFactory makes a Client that shares a Factory.
func NewWithFactory(f *supabase.Factory) *Client { return &Client{factory: f} }

// NewUser is what a user is made of.
type NewUser struct {
	Email       string
	Password    string
	DisplayName string
	// Request marks a user that an administrator makes, so that who asks again can be
	// told whether it was this request that made them; "" marks nothing.
	Request string
}

// requestMark is the key of app_metadata, which users cannot change, with NewUser.Request.
const requestMark = "stark_request"

func (u NewUser) metadata() map[string]any {
	if u.DisplayName == "" {
		return nil
	}
	return map[string]any{"display_name": u.DisplayName}
}

func (u NewUser) mark() map[string]any {
	if u.Request == "" {
		return nil
	}
	return map[string]any{requestMark: u.Request}
}

// SignUp registers a user. Where the project wants e-mails confirmed first, the
// session has a user but no tokens.
func (c *Client) SignUp(ctx context.Context, u NewUser) (api.Session, error) {
	client, err := c.factory.Auth(false)
	if err != nil {
		return api.Session{}, err
	}
	// An absent e-mail would make an anonymous user.
	if u.Email == "" || u.Password == "" {
		return api.Session{}, fault.New(fault.Validation, "e-mail and password are required")
	}
	resp, err := client.Auth.WithClient(c.factory.HTTPClient(ctx, "")).Signup(types.SignupRequest{
		Email: u.Email, Password: u.Password, Data: u.metadata(),
	})
	if err != nil {
		return api.Session{}, supabase.Fault(err, "sign up")
	}
	s := session(resp.Session)
	s.User = user(resp.User)
	return s, nil
}

// SignIn gives a session for an e-mail and a password.
func (c *Client) SignIn(ctx context.Context, email, password string) (api.Session, error) {
	client, err := c.factory.Auth(false)
	if err != nil {
		return api.Session{}, err
	}
	resp, err := client.Auth.WithClient(c.factory.HTTPClient(ctx, "")).SignInWithEmailPassword(email, password)
	if err != nil {
		return api.Session{}, supabase.Fault(err, "sign in")
	}
	return session(resp.Session), nil
}

// Refresh gives a new session for a refresh token, which it uses up.
func (c *Client) Refresh(ctx context.Context, refreshToken string) (api.Session, error) {
	client, err := c.factory.Auth(false)
	if err != nil {
		return api.Session{}, err
	}
	resp, err := client.Auth.WithClient(c.factory.HTTPClient(ctx, "")).RefreshToken(refreshToken)
	if err != nil {
		if fault.CodeOf(err) == fault.Validation { // a token of the wrong length
			return api.Session{}, fault.New(fault.TokenInvalid, "the session is no longer valid")
		}
		return api.Session{}, supabase.Fault(err, "refresh")
	}
	return session(resp.Session), nil
}

// Logout ends the session of the token, and no other session of its user.
func (c *Client) Logout(ctx context.Context, token string) error {
	client, err := c.factory.Auth(false)
	if err != nil {
		return err
	}
	return supabase.Fault(client.Auth.WithClient(c.factory.HTTPClient(ctx, "local")).WithToken(token).Logout(), "log out")
}

// AdminCreateUser makes a user whose e-mail counts as confirmed. Auth applies no
// password policy here: the caller has to.
func (c *Client) AdminCreateUser(ctx context.Context, u NewUser) (api.User, error) {
	client, err := c.factory.Auth(true)
	if err != nil {
		return api.User{}, err
	}
	resp, err := client.Auth.WithClient(c.factory.HTTPClient(ctx, "")).WithToken(c.factory.ServiceKey()).
		AdminCreateUser(types.AdminCreateUserRequest{
			Email: u.Email, Password: &u.Password, EmailConfirm: true, UserMetadata: u.metadata(), AppMetadata: u.mark(),
		})
	if err != nil {
		return api.User{}, supabase.Fault(err, "create user")
	}
	return user(resp.User), nil
}

// AdminMadeBy reports whether a user was made by AdminCreateUser with this request.
func (c *Client) AdminMadeBy(ctx context.Context, userID, request string) (bool, error) {
	id, err := uuid.Parse(userID)
	if err != nil {
		return false, fault.New(fault.Validation, "the user id is not a UUID")
	}
	client, err := c.factory.Auth(true)
	if err != nil {
		return false, err
	}
	resp, err := client.Auth.WithClient(c.factory.HTTPClient(ctx, "")).WithToken(c.factory.ServiceKey()).
		AdminGetUser(types.AdminGetUserRequest{UserID: id})
	if err != nil {
		return false, supabase.Fault(err, "get user")
	}
	return request != "" && resp.AppMetadata[requestMark] == request, nil
}

// AdminDeleteUser removes a user; one who is gone already is no fault.
func (c *Client) AdminDeleteUser(ctx context.Context, userID string) error {
	id, err := uuid.Parse(userID)
	if err != nil {
		return fault.New(fault.Validation, "the user id is not a UUID")
	}
	client, err := c.factory.Auth(true)
	if err != nil {
		return err
	}
	err = client.Auth.WithClient(c.factory.HTTPClient(ctx, "")).WithToken(c.factory.ServiceKey()).
		AdminDeleteUser(types.AdminDeleteUserRequest{UserID: id})
	if fault.CodeOf(err) == fault.UserNotFound {
		return nil
	}
	return supabase.Fault(err, "delete user")
}

// banDuration is for ever: Auth knows no ban without an end. A hundred years.
const banDuration = 100 * 365 * 24 * time.Hour

// AdminSetBanned stops a user from signing in and from renewing sessions, or lets
// them again. Access tokens that are out stay good for Auth until they expire.
func (c *Client) AdminSetBanned(ctx context.Context, userID string, banned bool) error {
	id, err := uuid.Parse(userID)
	if err != nil {
		return fault.New(fault.Validation, "the user id is not a UUID")
	}
	client, err := c.factory.Auth(true)
	if err != nil {
		return err
	}
	ban := types.BanDurationNone()
	if banned {
		ban = types.BanDurationTime(banDuration)
	}
	_, err = client.Auth.WithClient(c.factory.HTTPClient(ctx, "")).WithToken(c.factory.ServiceKey()).
		AdminUpdateUser(types.AdminUpdateUserRequest{UserID: id, BanDuration: &ban})
	return supabase.Fault(err, "ban user")
}

// Health reports whether Auth answers. Auth says so even without its database.
func (c *Client) Health(ctx context.Context) error {
	client, err := c.factory.Auth(false)
	if err != nil {
		return err
	}
	_, err = client.Auth.WithClient(c.factory.HTTPClient(ctx, "")).HealthCheck()
	return supabase.Fault(err, "probe Auth")
}

func session(s types.Session) api.Session {
	out := api.Session{User: user(s.User), AccessToken: s.AccessToken, RefreshToken: s.RefreshToken}
	switch {
	case s.ExpiresAt > 0:
		out.ExpiresAt = time.Unix(s.ExpiresAt, 0).UTC()
	case s.ExpiresIn > 0:
		out.ExpiresAt = time.Now().Add(time.Duration(s.ExpiresIn) * time.Second).UTC()
	}
	return out
}

// user takes over what Auth knows; roles are in our own table.
func user(u types.User) api.User {
	name, _ := u.UserMetadata["display_name"].(string)
	return api.User{
		ID: u.ID.String(), Email: u.Email, DisplayName: name, Roles: []api.Role{},
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
}
