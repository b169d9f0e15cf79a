package rest_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const goodPassword = "Correct-Horse-1"

func sessionFor(role string) api.Session {
	return api.Session{
		User:        api.User{ID: userIDOf(role), Email: "a@b.example", Roles: []api.Role{}, CreatedAt: someTime(), UpdatedAt: someTime()},
		AccessToken: "access-token-of-" + role, RefreshToken: "refresh-token-of-" + role, ExpiresAt: someTime(),
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var got gotrue.NewUser
	h.auth.signUp = func(u gotrue.NewUser) (api.Session, error) { got = u; return sessionFor("viewer"), nil }
	var s api.Session
	h.do(request{method: "POST", path: "/auth/register", body: map[string]any{"email": " Ann@Example.org ", "password": goodPassword, "displayName": "Ann"}}).
		want(http.StatusCreated, &s)
	if got.Email != "ann@example.org" || got.DisplayName != "Ann" || s.AccessToken == "" || len(s.User.Roles) != 1 || s.User.Roles[0] != api.RoleViewer {
		t.Errorf("got %+v and %+v", got, s)
	}
	// roles in a registration are refused, not obeyed.
	b := h.do(request{method: "POST", path: "/auth/register", body: map[string]any{"email": "a@b.example", "password": goodPassword, "roles": []string{"admin"}}}).
		fails(http.StatusBadRequest, fault.Validation)
	if field(t, b, "roles") != fault.FieldUnknown {
		t.Error("roles were not refused as unknown")
	}
	b = h.do(request{method: "POST", path: "/auth/register", body: map[string]any{"email": "nope", "password": "short"}}).fails(http.StatusBadRequest, fault.Validation)
	if field(t, b, "email") != fault.FieldInvalidFormat || field(t, b, "password") != fault.FieldTooShort {
		t.Errorf("got %v", b.Details)
	}
	h.auth.signUp = func(gotrue.NewUser) (api.Session, error) {
		return api.Session{}, fault.New(fault.Conflict, "a user with this e-mail exists already")
	}
	h.do(request{method: "POST", path: "/auth/register", body: map[string]any{"email": "a@b.example", "password": goodPassword}}).
		fails(http.StatusConflict, fault.Conflict)
}

func TestLoginAndRefresh(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.auth.signIn = func(_, password string) (api.Session, error) {
		if password != goodPassword {
			return api.Session{}, fault.New(fault.InvalidCredentials, "wrong e-mail or password")
		}
		return sessionFor("developer"), nil
	}
	var s api.Session
	h.do(request{method: "POST", path: "/auth/login", body: map[string]any{"email": "a@b.example", "password": goodPassword}}).want(http.StatusOK, &s)
	if len(s.User.Roles) != 1 || s.User.Roles[0] != api.RoleDeveloper || s.RefreshToken == "" {
		t.Errorf("got %+v", s)
	}
	h.do(request{method: "POST", path: "/auth/login", body: map[string]any{"email": "a@b.example", "password": "x"}}).
		fails(http.StatusUnauthorized, fault.InvalidCredentials)
	h.auth.refresh = func(token string) (api.Session, error) {
		if token != "r1" {
			return api.Session{}, fault.New(fault.TokenInvalid, "the session is no longer valid")
		}
		return sessionFor("developer"), nil
	}
	h.do(request{method: "POST", path: "/auth/refresh", body: map[string]any{"refreshToken": "r1"}}).want(http.StatusOK, &s)
	h.do(request{method: "POST", path: "/auth/refresh", body: map[string]any{"refreshToken": "r2"}}).fails(http.StatusUnauthorized, fault.TokenInvalid)
	// A spent refresh token must not be lost with an outage of the database.
	h.db.userRoles = func(string) ([]api.Role, bool, error) { return nil, false, fault.New(fault.Unavailable, "away") }
	h.do(request{method: "POST", path: "/auth/refresh", body: map[string]any{"refreshToken": "r1"}}).want(http.StatusOK, &s)
	h.auth.signIn = func(string, string) (api.Session, error) {
		return api.Session{}, fault.New(fault.Unavailable, "Supabase cannot be reached")
	}
	r := h.do(request{method: "POST", path: "/auth/login", body: map[string]any{"email": "a@b.example", "password": "x"}})
	if b := r.fails(http.StatusServiceUnavailable, fault.Unavailable); b.RetryAfter == 0 || r.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var ended string
	h.auth.logout = func(token string) error { ended = token; return nil }
	h.do(request{method: "POST", path: "/auth/logout", token: "good-viewer"}).want(http.StatusOK, nil)
	if ended != "good-viewer" {
		t.Errorf("ended %q", ended)
	}
	h.do(request{method: "POST", path: "/auth/logout", token: "expired"}).want(http.StatusOK, nil)
	h.do(request{method: "POST", path: "/auth/logout", token: "forged"}).want(http.StatusOK, nil)
	h.do(request{method: "POST", path: "/auth/logout"}).fails(http.StatusUnauthorized, fault.AuthenticationRequired)
	h.auth.logout = func(string) error { return fault.New(fault.Unavailable, "away") }
	h.do(request{method: "POST", path: "/auth/logout", token: "good-viewer"}).fails(http.StatusServiceUnavailable, fault.Unavailable)
}

func TestWhoami(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.profile = func(id access.Identity) (api.User, error) {
		return api.User{ID: id.UserID, Email: id.Email, Roles: id.Roles, CreatedAt: someTime(), UpdatedAt: someTime()}, nil
	}
	var got struct{ User api.User }
	h.do(request{method: "GET", path: "/auth/me", token: "good-operator"}).want(http.StatusOK, &got)
	if got.User.ID != userIDOf("operator") || got.User.Roles[0] != api.RoleOperator {
		t.Errorf("got %+v", got)
	}
}

func TestSetup(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var admins, made, removed atomic.Int32
	h.db.setupStatus = func() (api.SetupStatus, error) {
		return api.SetupStatus{NeedsSetup: admins.Load() == 0, UserCount: 3}, nil
	}
	h.db.claimFirstAdmin = func(string) (bool, error) { return admins.Add(1) == 1, nil }
	h.auth.createUser = func(u gotrue.NewUser) (api.User, error) {
		made.Add(1)
		return api.User{ID: userIDOf("admin"), Email: u.Email}, nil
	}
	h.auth.deleteUser = func(string) error { removed.Add(1); return nil }
	h.auth.signIn = func(string, string) (api.Session, error) { return sessionFor("admin"), nil }
	var status api.SetupStatus
	h.do(request{method: "GET", path: "/auth/setup/status"}).want(http.StatusOK, &status)
	if !status.NeedsSetup || status.CodeRequired || status.UserCount != 3 {
		t.Errorf("got %+v", status)
	}
	away := map[string]string{"X-Forwarded-For": "203.0.113.9"}
	h.do(request{method: "GET", path: "/auth/setup/status", header: away}).want(http.StatusOK, &status)
	if !status.CodeRequired || status.UserCount != 0 {
		t.Errorf("from afar got %+v", status)
	}
	body := map[string]any{"email": "root@example.org", "password": goodPassword}
	for _, header := range []map[string]string{away, {"Host": "stark.example.com"}} {
		h.do(request{method: "POST", path: "/auth/setup", body: body, header: header}).fails(http.StatusForbidden, fault.Forbidden)
		body["setupCode"] = "wrong-code"
		h.do(request{method: "POST", path: "/auth/setup", body: body, header: header}).fails(http.StatusForbidden, fault.Forbidden)
	}
	if made.Load() != 0 {
		t.Fatal("an account was made without the code")
	}
	// Two at once: one becomes admin, the other leaves no account behind.
	body["setupCode"] = "printed-code"
	var wg sync.WaitGroup
	statuses := make([]int, 2)
	for i := range 2 {
		wg.Go(func() {
			statuses[i] = h.do(request{method: "POST", path: "/auth/setup", body: body, header: away}).status
		})
	}
	wg.Wait()
	if statuses[0]+statuses[1] != http.StatusCreated+http.StatusForbidden || made.Load()-removed.Load() != 1 {
		t.Errorf("statuses %v, %d accounts made, %d removed", statuses, made.Load(), removed.Load())
	}
	h.do(request{method: "POST", path: "/auth/setup", body: body}).fails(http.StatusForbidden, fault.Forbidden)
}

func TestSetupTakesAnExistingAccount(t *testing.T) {
	t.Parallel()
	h := newHarness(t, func(d *rest.Deps) { d.Config.SetupCode = "" })
	h.db.setupStatus = func() (api.SetupStatus, error) { return api.SetupStatus{NeedsSetup: true}, nil }
	h.auth.createUser = func(gotrue.NewUser) (api.User, error) { return api.User{}, fault.New(fault.Conflict, "exists") }
	h.auth.signIn = func(_, password string) (api.Session, error) {
		if password != goodPassword {
			return api.Session{}, fault.New(fault.InvalidCredentials, "wrong e-mail or password")
		}
		return sessionFor("admin"), nil
	}
	var claimed string
	h.db.claimFirstAdmin = func(id string) (bool, error) { claimed = id; return true, nil }
	h.do(request{method: "POST", path: "/auth/setup", body: map[string]any{"email": "a@b.example", "password": goodPassword + "x"}}).
		fails(http.StatusUnauthorized, fault.InvalidCredentials)
	if claimed != "" {
		t.Fatal("somebody else's account became admin")
	}
	h.do(request{method: "POST", path: "/auth/setup", body: map[string]any{"email": "a@b.example", "password": goodPassword}}).want(http.StatusCreated, nil)
	if claimed != userIDOf("admin") {
		t.Errorf("claimed %q", claimed)
	}
	// Without a code on the server, other machines are refused, also with an empty one.
	h.do(request{
		method: "POST", path: "/auth/setup", header: map[string]string{"X-Real-IP": "203.0.113.9"},
		body: map[string]any{"email": "a@b.example", "password": goodPassword, "setupCode": ""},
	}).fails(http.StatusForbidden, fault.Forbidden)
}

func TestUsers(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var q api.UserQuery
	h.db.listUsers = func(_ access.Identity, got api.UserQuery) ([]api.User, int, error) {
		q = got
		return []api.User{{ID: someID, Email: "x@y.example", Roles: []api.Role{"viewer"}, CreatedAt: someTime(), UpdatedAt: someTime()}}, 7, nil
	}
	var list struct {
		Users []api.User
		Count int
	}
	h.do(request{method: "GET", path: "/auth/users?role=viewer&search=%25x&limit=10&offset=5", token: "good-admin"}).want(http.StatusOK, &list)
	if list.Count != 7 || len(list.Users) != 1 || q != (api.UserQuery{Role: "viewer", Search: "%x", Limit: 10, Offset: 5}) {
		t.Errorf("got %+v for %+v", list, q)
	}
	h.do(request{method: "GET", path: "/auth/users", token: "good-operator"}).want(http.StatusOK, &list)
	if q.Limit != 50 {
		t.Errorf("default limit %d", q.Limit)
	}
	h.auth.createUser = func(u gotrue.NewUser) (api.User, error) {
		return api.User{ID: someID, Email: u.Email, CreatedAt: someTime(), UpdatedAt: someTime()}, nil
	}
	var roles []api.Role
	h.db.setRoles = func(_ string, r []api.Role, by string) error {
		if by != userIDOf("admin") {
			t.Errorf("by %q", by)
		}
		roles = r
		return nil
	}
	var one struct{ User api.User }
	h.do(request{method: "POST", path: "/auth/users", token: "good-admin", body: map[string]any{"email": "n@e.example", "password": goodPassword, "roles": []string{"developer", "viewer"}}}).
		want(http.StatusCreated, &one)
	if len(roles) != 2 || len(one.User.Roles) != 2 {
		t.Errorf("roles %v, answer %+v", roles, one)
	}
	h.do(request{method: "POST", path: "/auth/users", token: "good-admin", body: map[string]any{"email": "n@e.example", "password": goodPassword, "roles": []string{"king"}}}).
		fails(http.StatusBadRequest, fault.Validation)
	// Without roles there is no account.
	var removed string
	h.auth.deleteUser = func(id string) error { removed = id; return nil }
	h.db.setRoles = func(string, []api.Role, string) error { return fault.New(fault.Unavailable, "away") }
	h.do(request{method: "POST", path: "/auth/users", token: "good-admin", body: map[string]any{"email": "n@e.example", "password": goodPassword}}).
		fails(http.StatusServiceUnavailable, fault.Unavailable)
	if removed != someID {
		t.Error("the account without roles stays")
	}
}

// nothing secret reaches the log, whatever goes wrong.
func TestLogsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const secretText = "tell-nobody-" + goodPassword
	h.auth.signIn = func(string, string) (api.Session, error) {
		return api.Session{}, fault.New(fault.InvalidCredentials, "wrong e-mail or password")
	}
	h.auth.signUp = func(gotrue.NewUser) (api.Session, error) { return sessionFor("viewer"), nil }
	h.auth.refresh = func(string) (api.Session, error) { panic("a handler breaks") }
	body := map[string]any{"email": "a@b.example", "password": secretText}
	h.do(request{method: "POST", path: "/auth/login", body: body, token: "forged-" + secretText}).fails(http.StatusUnauthorized, fault.InvalidCredentials)
	h.do(request{method: "POST", path: "/auth/register", body: body}).want(http.StatusCreated, nil)
	h.do(request{method: "POST", path: "/auth/register", body: `{"email":"a@b.example","password":["` + secretText + `"]}`}).fails(http.StatusBadRequest, fault.Validation)
	h.do(request{method: "POST", path: "/auth/register", body: `{"password":"` + secretText}).fails(http.StatusBadRequest, fault.Validation)
	b := h.do(request{method: "POST", path: "/auth/refresh", body: map[string]any{"refreshToken": secretText}}).fails(http.StatusInternalServerError, fault.Internal)
	if strings.Contains(b.Message, "breaks") || strings.Contains(b.Message, "goroutine") {
		t.Errorf("the answer tells what panicked: %s", b.Message)
	}
	h.do(request{method: "GET", path: "/api/pods?access_token=" + secretText, token: "expired"})
	h.do(request{method: "GET", path: "/nowhere?apikey=" + secretText, header: map[string]string{"apikey": secretText}})
	logged := h.logs.String()
	if !strings.Contains(logged, `"route":"/auth/login"`) || !strings.Contains(logged, "panic in a handler") {
		t.Fatalf("the log misses what it should hold: %s", logged)
	}
	for _, s := range []string{"tell-nobody", "access-token-of", "refresh-token-of", "printed-code"} {
		if strings.Contains(logged, s) {
			t.Errorf("the log holds %q", s)
		}
	}
}
