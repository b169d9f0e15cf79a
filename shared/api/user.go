package api

import "time"

// Role is what a user may be in the cluster.
type Role string

// The roles. RoleNode belongs to agents and cannot be given to users.
const (
	RoleAdmin     Role = "admin"
	RoleOperator  Role = "operator"
	RoleDeveloper Role = "developer"
	RoleViewer    Role = "viewer"
	RoleNode      Role = "node"
)

// UserRoles lists the roles that a user can be given.
var UserRoles = []Role{RoleAdmin, RoleOperator, RoleDeveloper, RoleViewer}

// User is the profile of a person.
type User struct {
	ID          string     `json:"id"`
	Email       string     `json:"email"`
	DisplayName string     `json:"displayName,omitempty"`
	Roles       []Role     `json:"roles"` // none while the account is disabled
	CreatedAt   time.Time  `json:"createdAt"`
	UpdatedAt   time.Time  `json:"updatedAt"`
	DisabledAt  *time.Time `json:"disabledAt,omitempty"`

	// ResourceVersion changes with every change of the profile or the roles; it is opaque.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// Session is what signing in gives.
type Session struct {
	User         User      `json:"user"`
	AccessToken  string    `json:"accessToken"`
	RefreshToken string    `json:"refreshToken,omitempty"`
	ExpiresAt    time.Time `json:"expiresAt"`
}

// RegisterRequest is the body of POST /auth/register and of POST /auth/setup.
type RegisterRequest struct {
	Email       string `json:"email"`
	Password    string `json:"password"`
	DisplayName string `json:"displayName,omitempty"`
	SetupCode   string `json:"setupCode,omitempty"` // POST /auth/setup from another machine
}

// LoginRequest is the body of POST /auth/login.
type LoginRequest struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// RefreshRequest is the body of POST /auth/refresh.
type RefreshRequest struct {
	RefreshToken string `json:"refreshToken"`
}

// CreateUserRequest is the body of POST /auth/users.
type CreateUserRequest struct {
	Email       string `json:"email"`
	Password    string `json:"password"`
	DisplayName string `json:"displayName,omitempty"`
	Roles       []Role `json:"roles,omitempty"`
}

// GrantRolesRequest is the body of POST /auth/users/:id/roles.
type GrantRolesRequest struct {
	Roles []Role `json:"roles"`
}

// SetupStatus is the answer of GET /auth/setup/status.
type SetupStatus struct {
	NeedsSetup   bool `json:"needsSetup"` // there is no admin yet
	UserCount    int  `json:"userCount"`
	CodeRequired bool `json:"codeRequired"` // the caller must send the code that the server printed
}

// UserQuery selects users in a list.
type UserQuery struct {
	Role   Role
	Search string // part of the e-mail or display name
	Limit  int
	Offset int
}

// Ticket opens one socket as the user who asked for it, once, soon: for browsers,
// which cannot send an Authorization header with a socket.
type Ticket struct {
	Ticket    string    `json:"ticket"`
	ExpiresAt time.Time `json:"expiresAt"`
}
