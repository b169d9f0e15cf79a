package access_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestAllowed(t *testing.T) {
	t.Parallel()
	table := map[api.Role]map[access.Kind]string{
		api.RoleAdmin: {
			access.Pack: "crud", access.Pod: "crud", access.Node: "crud", access.Namespace: "crud",
			access.ClusterConfig: "crud", access.PriorityClass: "crud", access.User: "crud", access.JoinToken: "crud",
		},
		api.RoleOperator: {
			access.Pack: "r", access.Pod: "crud", access.Node: "crud", access.Namespace: "crud",
			access.ClusterConfig: "crud", access.PriorityClass: "crud", access.User: "r", access.JoinToken: "crud",
		},
		api.RoleDeveloper: {
			access.Pack: "crud", access.Pod: "crud", access.Node: "crud", access.Namespace: "r", access.JoinToken: "crd",
		},
		api.RoleViewer: {access.Pack: "r", access.Pod: "r", access.Node: "r", access.Namespace: "r"},
		api.RoleNode:   {},
		"":             {},
	}
	for role, kinds := range table {
		for _, k := range access.Kinds {
			for _, a := range access.Actions {
				want := false
				for _, letter := range kinds[k] {
					want = want || letter == rune(a[0])
				}
				if got := access.Allowed(role, a, k); got != want {
					t.Errorf("Allowed(%q, %s, %s) = %v, want %v", role, a, k, got, want)
				}
			}
		}
	}
	if access.Allowed(api.RoleAdmin, "", access.Pod) || access.Allowed(api.RoleAdmin, "cook", access.Pod) {
		t.Error("an action that does not exist is allowed")
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
		"own pack":                     {access.VisiblePack(as("ann", api.RoleDeveloper), private), true},
		"other's private pack":         {access.VisiblePack(as("bob", api.RoleDeveloper), private), false},
		"public pack":                  {access.VisiblePack(as("bob", api.RoleViewer), public), true},
		"admin and pack":               {access.VisiblePack(as("bob", api.RoleAdmin), private), true},
		"no role and public pack":      {access.VisiblePack(as("bob"), public), false},
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
