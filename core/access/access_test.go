package access_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Rights that must not change by mistake; docs/rights.md has all of them.
func TestScopes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		role  api.Role
		does  access.Action
		kind  access.Kind
		want  access.Scope
		rest  bool
		owned bool
	}{
		{api.RoleAdmin, access.Delete, access.Pack, access.All, true, false},
		{api.RoleOperator, access.Update, access.Pack, access.None, false, false},
		{api.RoleOperator, access.Delete, access.Pod, access.All, true, false},
		{api.RoleOperator, access.Create, access.UserRole, access.None, false, false},
		{api.RoleDeveloper, access.Create, access.Pod, access.Own, true, false},
		{api.RoleDeveloper, access.Delete, access.Pod, access.Run, true, true},
		{api.RoleDeveloper, access.Read, access.Pack, access.Open, true, false},
		{api.RoleDeveloper, access.Read, access.JoinToken, access.Own, true, true},
		{api.RoleDeveloper, access.Update, access.NamespaceMember, access.Lead, true, true},
		{api.RoleDeveloper, access.Read, access.User, access.None, false, false},
		{api.RoleViewer, access.Read, access.Pod, access.Team, true, false},
		{api.RoleViewer, access.Create, access.Node, access.None, false, false},
		{api.RoleNode, access.Update, access.Node, access.Socket, false, false},
		{"", access.Read, access.Pod, access.None, false, false},
		{api.RoleAdmin, "", access.Pod, access.None, false, false},
		{api.RoleAdmin, "cook", access.Pod, access.None, false, false},
		{api.RoleAdmin, access.Read, "kitchen", access.None, false, false},
	} {
		who := access.Identity{UserID: "u", Roles: []api.Role{test.role}}
		if got := access.ScopeOf(test.role, test.does, test.kind); got != test.want {
			t.Errorf("%s %s %s reaches %q, want %q", test.role, test.does, test.kind, got, test.want)
		}
		if got := access.Allowed(test.role, test.does, test.kind); got != test.rest || who.Can(test.does, test.kind) != test.rest {
			t.Errorf("%s may %s %s: %v, want %v", test.role, test.does, test.kind, got, test.rest)
		}
		if got := who.OwnOnly(test.does, test.kind); got != test.owned {
			t.Errorf("%s %s %s is bound to what is theirs: %v, want %v", test.role, test.does, test.kind, got, test.owned)
		}
	}
	for _, k := range access.Kinds {
		for _, a := range access.Actions {
			if scope := access.ScopeOf(access.Anonymous, a, k); scope != access.None {
				t.Errorf("nobody in particular may %s %s: %s", a, k, scope)
			}
			if access.Allowed(api.RoleNode, a, k) {
				t.Errorf("a node may %s %s through REST", a, k)
			}
		}
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	both := access.Identity{UserID: "u", Roles: []api.Role{api.RoleViewer, api.RoleDeveloper}}
	if !both.Can(access.Create, access.Pod) || both.Can(access.Create, access.User) {
		t.Error("the rights of several roles are not their union")
	}
	if !both.OwnOnly(access.Delete, access.Pod) || both.OwnOnly(access.Read, access.Pod) || both.OwnOnly(access.Create, access.Pod) {
		t.Error("a developer deletes their own pods alone, and reads and creates without that bound")
	}
	if !both.OwnOnly(access.Read, access.JoinToken) || both.OwnOnly(access.Delete, access.User) {
		t.Error("a developer sees their own join tokens alone, and users not at all")
	}
	promoted := access.Identity{UserID: "u", Roles: []api.Role{api.RoleDeveloper, api.RoleOperator}}
	if promoted.OwnOnly(access.Delete, access.Pod) {
		t.Error("an operator deletes every pod")
	}
	anonymous := access.Identity{UserID: "u", Roles: []api.Role{api.RoleAdmin}, Anonymous: true}
	if anonymous.Can(access.Read, access.Pod) || anonymous.Staff() {
		t.Error("an anonymous user has rights")
	}
	if (access.Identity{UserID: "u"}).Can(access.Read, access.Pod) {
		t.Error("no role gives a right")
	}
}

func TestVisible(t *testing.T) {
	t.Parallel()
	as := func(user string, roles ...api.Role) access.Identity {
		return access.Identity{UserID: user, Roles: roles}
	}
	node := access.Identity{NodeID: "n1", Roles: []api.Role{api.RoleNode}}
	pod := api.Pod{CreatedBy: "ann", Namespace: "team", NodeID: new("n1")}
	private := api.Pack{OwnerID: "ann", Visibility: api.VisibilityPrivate}
	public := api.Pack{OwnerID: "ann", Visibility: api.VisibilityPublic}
	memberOf := func(ns string) bool { return ns == "team" }
	nowhere := func(string) bool { return false }
	none := nowhere
	tests := map[string]struct{ got, want bool }{
		"own pod":                      {access.VisiblePod(as("ann", api.RoleDeveloper), pod, nowhere), true},
		"other's pod":                  {access.VisiblePod(as("bob", api.RoleDeveloper), pod, nowhere), false},
		"the team's pod":               {access.VisiblePod(as("bob", api.RoleViewer), pod, memberOf), true},
		"operator and pod":             {access.VisiblePod(as("bob", api.RoleOperator), pod, nowhere), true},
		"no role and own pod":          {access.VisiblePod(as("ann"), pod, memberOf), false},
		"pod of nobody":                {access.VisiblePod(as("", api.RoleViewer), api.Pod{}, nowhere), false},
		"node and its pod":             {access.VisiblePod(node, pod, nowhere), true},
		"node and another's pod":       {access.VisiblePod(node, api.Pod{NodeID: new("n2")}, memberOf), false},
		"node and pending pod":         {access.VisiblePod(node, api.Pod{}, memberOf), false},
		"own pack":                     {access.VisiblePack(as("ann", api.RoleDeveloper), private, none), true},
		"other's private pack":         {access.VisiblePack(as("bob", api.RoleDeveloper), private, none), false},
		"public pack":                  {access.VisiblePack(as("bob", api.RoleViewer), public, none), true},
		"admin and pack":               {access.VisiblePack(as("bob", api.RoleAdmin), private, none), true},
		"member and the team's pack":   {access.VisiblePack(as("bob", api.RoleViewer), private, func(string) bool { return true }), true},
		"no role and public pack":      {access.VisiblePack(as("bob"), public, none), false},
		"viewer and node":              {access.VisibleNode(as("bob", api.RoleViewer), api.Node{ID: "n1"}), true},
		"no role and node":             {access.VisibleNode(as("bob"), api.Node{ID: "n1"}), false},
		"node and itself":              {access.VisibleNode(node, api.Node{ID: "n1"}), true},
		"node and another":             {access.VisibleNode(node, api.Node{ID: "n2"}), false},
		"viewer and namespace":         {access.VisibleNamespace(as("bob", api.RoleViewer), api.Namespace{}), true},
		"own profile":                  {access.VisibleUser(as("bob"), api.User{ID: "bob"}), true},
		"other's profile":              {access.VisibleUser(as("bob", api.RoleDeveloper), api.User{ID: "ann"}), false},
		"operator and other's profile": {access.VisibleUser(as("bob", api.RoleOperator), api.User{ID: "ann"}), true},
	}
	for name, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", name, tt.got, tt.want)
		}
	}
}
