package rest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func someUser(roles ...api.Role) api.User {
	return api.User{ID: someID, Email: "x@y.example", Roles: append([]api.Role{}, roles...), CreatedAt: someTime(), UpdatedAt: someTime()}
}

// audits gives the audit lines as "action done userId by".
func (h *harness) audits() []string {
	h.t.Helper()
	var out []string
	for line := range strings.Lines(h.logs.String()) {
		var l struct {
			Msg, Action, UserID, By string
			Done                    bool
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			h.t.Fatal(err)
		}
		if l.Msg == "audit" {
			done := map[bool]string{true: "done", false: "refused"}[l.Done]
			out = append(out, strings.Join([]string{l.Action, done, l.UserID, l.By}, " "))
		}
	}
	return out
}

func TestRolesOfAnAccount(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.getUser = func(access.Identity, string) (api.User, error) { return someUser(api.RoleViewer), nil }
	h.db.grantRoles = func(by access.Identity, id string, roles []api.Role) (api.User, error) {
		if by.UserID != userIDOf("admin") || id != someID {
			t.Errorf("by %q for %q", by.UserID, id)
		}
		return someUser(append(roles, api.RoleViewer)...), nil
	}
	h.db.revokeRole = func(_ access.Identity, _ string, role api.Role) (api.User, error) {
		if role == api.RoleAdmin {
			return api.User{}, fault.New(fault.Conflict, "the last admin cannot be removed")
		}
		return someUser(), nil
	}
	path := "/auth/users/" + someID
	var one struct{ User api.User }
	h.do(request{method: "GET", path: path, token: "good-operator"}).want(http.StatusOK, &one)
	h.do(request{method: "POST", path: path + "/roles", token: "good-admin", body: map[string]any{"roles": []string{"operator"}}}).want(http.StatusOK, &one)
	if !slices.Equal(one.User.Roles, []api.Role{api.RoleOperator, api.RoleViewer}) {
		t.Errorf("roles %v", one.User.Roles)
	}
	h.do(request{method: "DELETE", path: path + "/roles/viewer", token: "good-admin"}).want(http.StatusOK, &one)
	h.do(request{method: "DELETE", path: path + "/roles/admin", token: "good-admin"}).fails(http.StatusConflict, fault.Conflict)
	h.do(request{method: "DELETE", path: path + "/roles/king", token: "good-admin"}).fails(http.StatusBadRequest, fault.Validation)
	for _, body := range []string{`{}`, `{"roles":[]}`, `{"roles":["node"]}`} {
		b := h.do(request{method: "POST", path: path + "/roles", token: "good-admin", body: body}).fails(http.StatusBadRequest, fault.Validation)
		if len(b.Details) != 1 {
			t.Errorf("%s: %v", body, b.Details)
		}
	}
	for _, what := range []string{"", "/roles/viewer"} {
		method := map[bool]string{true: "GET", false: "DELETE"}[what == ""]
		h.do(request{method: method, path: "/auth/users/nope" + what, token: "good-admin"}).fails(http.StatusBadRequest, fault.Validation)
	}
	admin := " " + someID + " " + userIDOf("admin")
	want := []string{"roles.grant done" + admin, "roles.revoke done" + admin, "roles.revoke refused" + admin}
	if got := h.audits(); !slices.Equal(got, want) {
		t.Errorf("audit lines %q, want %q", got, want)
	}
}

// The database decides before Auth hears of it, and a failure of Auth is told.
func TestDisablingAnAccount(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var calls []string
	refused := error(nil)
	h.db.setDisabled = func(id string, disabled bool, by string) (api.User, error) {
		if id != someID || by != userIDOf("admin") {
			t.Errorf("%q by %q", id, by)
		}
		calls = append(calls, map[bool]string{true: "disable", false: "enable"}[disabled])
		return someUser(), refused
	}
	away := error(nil)
	h.auth.setBanned = func(_ string, banned bool) error {
		calls = append(calls, map[bool]string{true: "ban", false: "unban"}[banned])
		return away
	}
	call := func(what string) reply {
		return h.do(request{method: "POST", path: "/auth/users/" + someID + "/" + what, token: "good-admin"})
	}
	call("disable").want(http.StatusOK, nil)
	call("enable").want(http.StatusOK, nil)
	away = fault.New(fault.Unavailable, "Supabase Auth is not available")
	call("disable").fails(http.StatusServiceUnavailable, fault.Unavailable)
	refused = fault.New(fault.Conflict, "the last admin cannot be removed")
	call("disable").fails(http.StatusConflict, fault.Conflict)
	if got := strings.Join(calls, " "); got != "disable ban enable unban disable ban disable" {
		t.Errorf("calls: %s", got)
	}
	admin := " " + someID + " " + userIDOf("admin")
	want := []string{"account.disable done" + admin, "account.enable done" + admin, "account.disable refused" + admin, "account.disable refused" + admin}
	if got := h.audits(); !slices.Equal(got, want) {
		t.Errorf("audit lines %q, want %q", got, want)
	}
}

func TestRegistrationIsClosedUnlessOpened(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.openRegistration = func() (bool, error) { return false, nil }
	body := map[string]any{"email": "a@b.example", "password": goodPassword}
	b := h.do(request{method: "POST", path: "/auth/register", body: body}).fails(http.StatusForbidden, fault.Forbidden)
	if !strings.Contains(b.Message, "ask an admin") {
		t.Errorf("the refusal does not say what to do: %s", b.Message)
	}
	h.db.openRegistration = func() (bool, error) { return false, fault.New(fault.Unavailable, "away") }
	h.do(request{method: "POST", path: "/auth/register", body: body}).fails(http.StatusServiceUnavailable, fault.Unavailable)
	if got := h.audits(); !slices.Equal(got, []string{"account.register refused  "}) {
		t.Errorf("audit lines %q", got)
	}
}

// A disabled account is refused with the reason, also while the database is away.
func TestDisabledAccountsAreRefused(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.userRoles = func(string) ([]api.Role, bool, error) { return nil, true, access.AccountDisabled() }
	for _, path := range []string{"/auth/me", "/api/pods"} {
		b := h.do(request{method: "GET", path: path, token: "good-viewer"}).fails(http.StatusForbidden, fault.Forbidden)
		if !strings.Contains(b.Message, "disabled") {
			t.Errorf("%s: %s", path, b.Message)
		}
	}
	u := someUser()
	u.ID, u.DisabledAt = userIDOf("viewer"), new(someTime())
	h.model.Apply(store.Batch{Users: store.Changes[api.User]{Put: []api.User{u}}})
	h.model.SetStale(true)
	h.do(request{method: "GET", path: "/api/pods", token: "good-viewer"}).fails(http.StatusForbidden, fault.Forbidden)
}

// What lets a node in, or shuts it out, is told like what is done to accounts.
func TestChangesOfNodeIdentityAreAudited(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.createJoinToken = func(access.Identity, api.CreateJoinTokenRequest) (api.JoinToken, error) {
		return api.JoinToken{ID: otherID, Token: api.JoinTokenPrefix + "a-secret-of-the-test"}, nil
	}
	h.db.revokeJoinToken = func(access.Identity, string) error { return nil }
	h.db.credential = func(_ access.Identity, what, _ string) error {
		if what == "revoke" {
			return fault.New(fault.Forbidden, "not your node")
		}
		return nil
	}
	h.do(request{method: "POST", path: "/api/node-tokens", token: "good-developer", body: map[string]any{}}).want(http.StatusCreated, nil)
	h.do(request{method: "DELETE", path: "/api/node-tokens/" + someID, token: "good-developer"}).want(http.StatusOK, nil)
	h.do(request{method: "POST", path: "/api/nodes/" + someID + "/credential/rotate", token: "good-developer"}).want(http.StatusOK, nil)
	h.do(request{method: "DELETE", path: "/api/nodes/" + someID + "/credential", token: "good-developer"}).fails(http.StatusForbidden, fault.Forbidden)
	h.db.takeNode = func(id access.Identity, nodeID string) (api.Node, error) {
		if id.UserID != userIDOf("operator") {
			return api.Node{}, fault.New(fault.Forbidden, "not for you")
		}
		return api.Node{ID: nodeID, Name: "n", RegisteredBy: id.UserID, Shared: true, CreatedAt: someTime(), UpdatedAt: someTime()}, nil
	}
	take := request{method: "POST", path: "/api/nodes/" + someID + "/take", token: "good-developer"}
	h.do(take).fails(http.StatusForbidden, fault.Forbidden)
	take.token = "good-operator"
	var one struct{ Node api.Node }
	h.do(take).want(http.StatusOK, &one)
	if one.Node.ID != someID || one.Node.RegisteredBy != userIDOf("operator") {
		t.Errorf("got %+v", one.Node)
	}
	by := "  " + userIDOf("developer")
	want := []string{"joinToken.create done" + by, "joinToken.revoke done" + by, "credential.rotate done" + by, "credential.revoke refused" + by, "node.take refused" + by, "node.take done  " + userIDOf("operator")}
	if got := h.audits(); !slices.Equal(got, want) {
		t.Errorf("audit lines %q, want %q", got, want)
	}
	if text := h.logs.String(); strings.Contains(text, "a-secret-of-the-test") || !strings.Contains(text, `"nodeId":"`+someID) || !strings.Contains(text, `"inviteId":"`+otherID) {
		t.Errorf("the log holds a secret, or does not name what was changed: %s", text)
	}
}
