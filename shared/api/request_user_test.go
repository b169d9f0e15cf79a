package api_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestAccounts(t *testing.T) {
	t.Parallel()
	account := func(email, password, name string) *api.RegisterRequest {
		return &api.RegisterRequest{Email: email, Password: password, DisplayName: name}
	}
	const good, mail = "Password1", "a@b.c"
	cases := []validateCase{
		{"good", account(mail, good, "Ada"), nil},
		{"empty", account("", "", ""), map[string]string{"email": "REQUIRED", "password": "REQUIRED"}},
		{"all wrong", account("a", "short", strings.Repeat("é", 101)), map[string]string{"email": "INVALID_FORMAT", "password": "TOO_SHORT", "displayName": "TOO_LONG"}},
		{"name of 100 letters", account(mail, good, strings.Repeat("é", 100)), nil},
		{"no capital", account(mail, "password1", ""), map[string]string{"password": "MISSING_UPPERCASE"}},
		{"no small letter", account(mail, "PASSWORD1", ""), map[string]string{"password": "MISSING_LOWERCASE"}},
		{"no digit", account(mail, "Passwords", ""), map[string]string{"password": "MISSING_DIGIT"}},
		{"beyond bcrypt", account(mail, "Pa1"+strings.Repeat("x", 70), ""), map[string]string{"password": "TOO_LONG"}},
		{"e-mail of 254", account(strings.Repeat("a", 250)+"@b.c", good, ""), nil},
		{"e-mail of 255", account(strings.Repeat("a", 251)+"@b.c", good, ""), map[string]string{"email": "TOO_LONG"}},
		{"login", &api.LoginRequest{Email: mail, Password: "x"}, nil},
		{"login empty", &api.LoginRequest{Email: "  "}, map[string]string{"email": "REQUIRED", "password": "REQUIRED"}},
		{"refresh", &api.RefreshRequest{RefreshToken: "r"}, nil},
		{"refresh empty", &api.RefreshRequest{}, map[string]string{"refreshToken": "REQUIRED"}},
		{"user", &api.CreateUserRequest{Email: mail, Password: good, Roles: []api.Role{api.RoleAdmin}}, nil},
		{
			"wrong roles", &api.CreateUserRequest{Email: mail, Password: good, Roles: []api.Role{api.RoleAdmin, api.RoleNode, "root"}},
			map[string]string{"roles[1]": "INVALID_VALUE", "roles[2]": "INVALID_VALUE"},
		},
	}
	for _, bad := range []string{"@b.c", "a@b", "a@", "a@@b.c", "a b@c.d", "a@b.", "a@.c", "a@.b.c", "a@b..c", "a\x00@b.c"} {
		cases = append(cases, validateCase{"e-mail " + bad, account(bad, good, ""), map[string]string{"email": "INVALID_FORMAT"}})
	}
	runValidate(t, cases)
}

func TestAccountsAreNormalised(t *testing.T) {
	t.Parallel()
	r := api.CreateUserRequest{Email: " Ada@Example.COM ", Password: "Password1"}
	wantFields(t, r.Validate(), nil)
	if r.Email != "ada@example.com" || len(r.Roles) != 1 || r.Roles[0] != api.RoleViewer {
		t.Errorf("got %q with %v, want ada@example.com as viewer", r.Email, r.Roles)
	}
}
