package access

import "github.com/stark-orchestrator/stark/shared/api"

// Scope is how far a right reaches.
type Scope string

// The scopes, from none to all. Those between hold a user to what is theirs by
// ownership or by membership in a namespace.
const (
	None Scope = ""
	// Socket is a node's own: what it sends and is sent over its socket. REST and
	// SQL know nothing of it.
	Socket Scope = "own, over its socket"
	Own    Scope = "own"
	// Member is where one is a member.
	Member Scope = "of one's namespaces"
	// Lead is where one is an admin of the namespace.
	Lead Scope = "where one is admin of the namespace"
	// Team is one's own and what is in one's namespaces.
	Team Scope = "own, and of one's namespaces"
	// Run is one's own and those of namespaces where one is admin or operator.
	Run Scope = "own, and where one is admin or operator of the namespace"
	// Open is one's own, what is public, and what runs in one's namespaces.
	Open Scope = "own, public, and of pods in one's namespaces"
	All  Scope = "all"
)

// Anonymous stands in the table for accounts that nobody has signed up for, and
// for callers without any account. Nobody is given it.
const Anonymous api.Role = "anonymous"

// Columns are the roles of the table, in the order of its columns.
var Columns = []api.Role{api.RoleAdmin, api.RoleOperator, api.RoleDeveloper, api.RoleViewer, api.RoleNode, Anonymous}

// row is what the roles of Columns may do, in that order.
type row [6]Scope

// table is the only statement of the rights; the policies of supabase/migrations
// say the same in SQL, and tests compare the two cell by cell.
var table = map[Kind]map[Action]row{
	Pack: {
		Create: {Own, None, Own},
		Read:   {All, All, Open, Open},
		Update: {All, None, Own},
		Delete: {All, None, Own},
	},
	Bundle: {
		Create: {Own, None, Own},
		Read:   {All, All, Open, Open, Socket},
		Delete: {All, None, Own},
	},
	Pod: {
		Create: {Own, Own, Own},
		Read:   {All, All, Team, Team, Socket},
		Update: {All, All, Run, None, Socket},
		Delete: {All, All, Run},
	},
	Node: {
		Create: {Own, Own, Own},
		Read:   {All, All, All, All, Socket},
		Update: {All, All, Own, None, Socket},
		Delete: {All, All, Own},
	},
	JoinToken: {
		Create: {Own, Own, Own},
		Read:   {All, All, Own},
		Delete: {All, All, Own},
	},
	Namespace: {
		Create: {Own, Own},
		Read:   {All, All, All, All},
		Update: {All, All},
		Delete: {All, All},
	},
	NamespaceMember: {
		Create: {All, All, Lead},
		Read:   {All, All, Member, Member},
		Update: {All, All, Lead},
		Delete: {All, All, Lead},
	},
	PriorityClass: {
		Create: {All, All},
		Read:   {All, All, All, All},
		Update: {All, All},
		Delete: {All, All},
	},
	// It is one row, which comes with the migrations and stays.
	ClusterConfig: {
		Read:   {All, All},
		Update: {All, All},
	},
	User: {
		Create: {All},
		Read:   {All, All},
		Update: {All},
		Delete: {All},
	},
	UserRole: {
		Create: {All},
		Read:   {All, All, Own, Own},
		Delete: {All},
	},
	Profile: {
		Read:   {Own, Own, Own, Own},
		Update: {Own, Own, Own, Own},
	},
}

// ScopeOf is the cell of the table.
func ScopeOf(role api.Role, a Action, k Kind) Scope {
	for i, r := range Columns {
		if r == role {
			return table[k][a][i]
		}
	}
	return None
}
