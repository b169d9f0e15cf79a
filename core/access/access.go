// Package access decides who may do what: a table of role x action x kind, and
// which objects an identity may see. It mirrors the row level security policies
// of supabase/migrations, which stay the floor; it refuses to look anything up.
package access

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Kind is a kind of object that rights are given on.
type Kind string

// The kinds.
const (
	Pack          Kind = "pack"
	Pod           Kind = "pod"
	Node          Kind = "node"
	Namespace     Kind = "namespace"
	ClusterConfig Kind = "clusterConfig"
	PriorityClass Kind = "priorityClass"
	User          Kind = "user"
	JoinToken     Kind = "joinToken"
)

// Kinds lists every kind.
var Kinds = []Kind{Pack, Pod, Node, Namespace, ClusterConfig, PriorityClass, User, JoinToken}

// Action is what one may do with an object.
type Action string

// The actions.
const (
	Create Action = "create"
	Read   Action = "read"
	Update Action = "update"
	Delete Action = "delete"
)

// Actions lists every action.
var Actions = []Action{Create, Read, Update, Delete}

// Identity is who makes a request, as its verified token says; Roles come from
// the database and not from the token.
type Identity struct {
	UserID    string
	Email     string
	Roles     []api.Role
	Anonymous bool
	SessionID string
	ExpiresAt time.Time
	Claims    json.RawMessage // verified claims, for request.jwt.claims
	NodeID    string          // set for agents that speak with a node credential
}

// AccountDisabled is what the owner of a disabled account is told at every door.
func AccountDisabled() error {
	return fault.New(fault.Forbidden, "this account is disabled; ask an admin to enable it")
}

// HasRole reports whether the identity has any of the roles.
func (i Identity) HasRole(roles ...api.Role) bool {
	return !i.Anonymous && slices.ContainsFunc(roles, func(r api.Role) bool { return slices.Contains(i.Roles, r) })
}

// Staff reports whether the identity is an admin or operator, who see all pods,
// packs and nodes.
func (i Identity) Staff() bool { return i.HasRole(api.RoleAdmin, api.RoleOperator) }

// Can reports whether any role of the identity allows the action on the kind.
// Ownership of the single object is a further question: see OwnOnly.
func (i Identity) Can(a Action, k Kind) bool {
	return !i.Anonymous && slices.ContainsFunc(i.Roles, func(r api.Role) bool { return Allowed(r, a, k) })
}

// OwnOnly reports whether the identity may do this to its own objects alone.
func (i Identity) OwnOnly(a Action, k Kind) bool {
	return i.Can(a, k) && !slices.ContainsFunc(i.Roles, func(r api.Role) bool {
		return Allowed(r, a, k) && !ownOnly(r, a, k)
	})
}

// grants maps role and kind to the allowed actions: c, r, u, d as letters.
var grants = map[api.Role]map[Kind]string{
	api.RoleAdmin: {
		Pack: "crud", Pod: "crud", Node: "crud", Namespace: "crud",
		ClusterConfig: "crud", PriorityClass: "crud", User: "crud", JoinToken: "crud",
	},
	api.RoleOperator: {
		Pack: "r", Pod: "crud", Node: "crud", Namespace: "crud",
		ClusterConfig: "crud", PriorityClass: "crud", User: "r", JoinToken: "crud",
	},
	api.RoleDeveloper: {
		Pack: "crud", Pod: "crud", Node: "crud", Namespace: "r", JoinToken: "crd",
	},
	api.RoleViewer: {Pack: "r", Pod: "r", Node: "r", Namespace: "r"},
}

// Allowed reports whether a role allows an action on a kind.
func Allowed(role api.Role, a Action, k Kind) bool {
	if a == "" {
		return false
	}
	letters := grants[role][k]
	for n := range len(letters) {
		if letters[n] == a[0] && slices.Contains(Actions, a) {
			return true
		}
	}
	return false
}

// ownOnly says which rights of a role end at the caller's own objects.
func ownOnly(role api.Role, a Action, k Kind) bool {
	if role != api.RoleDeveloper || a == Create {
		return false
	}
	switch k {
	case Pack, Pod, Node:
		return a != Read
	case JoinToken:
		return true
	default:
		return false
	}
}
