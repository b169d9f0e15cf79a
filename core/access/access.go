// Package access decides who may do what: a table of role x action x kind with
// how far each right reaches (docs/rights.md is printed from it), and which
// objects an identity may see. It mirrors the row level security policies of
// supabase/migrations, which stay the floor; it refuses to look anything up.
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

// The kinds. Bundle is the object in Storage; UserRole a role that somebody has;
// Profile what an account says of itself. Runs, history and verdicts go with
// their pod.
const (
	Pack            Kind = "pack"
	Bundle          Kind = "bundle"
	Pod             Kind = "pod"
	Node            Kind = "node"
	JoinToken       Kind = "joinToken"
	Namespace       Kind = "namespace"
	NamespaceMember Kind = "namespaceMember"
	PriorityClass   Kind = "priorityClass"
	ClusterConfig   Kind = "clusterConfig"
	User            Kind = "user"
	UserRole        Kind = "userRole"
	Profile         Kind = "profile"
)

// Kinds lists every kind.
var Kinds = []Kind{
	Pack, Bundle, Pod, Node, JoinToken, Namespace, NamespaceMember, PriorityClass, ClusterConfig, User, UserRole, Profile,
}

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

// OwnOnly reports whether the identity may do this, but not to everybody's
// objects by its role alone: reading apart, where the database says what is seen.
func (i Identity) OwnOnly(a Action, k Kind) bool {
	return i.Can(a, k) && !slices.ContainsFunc(i.Roles, func(r api.Role) bool {
		switch ScopeOf(r, a, k) {
		case None, Socket, Own, Run, Lead:
			return a == Create && Allowed(r, a, k)
		default:
			return true
		}
	})
}

// Allowed reports whether a role allows an action on a kind at all.
func Allowed(role api.Role, a Action, k Kind) bool {
	scope := ScopeOf(role, a, k)
	return scope != None && scope != Socket
}
