package access

import (
	"fmt"
	"strings"
)

const preface = `# Rights

This page is printed from the table in core/access by ` + "`make rights`" + `; a test holds it to the table, and others try every cell through REST, through SQL and through Supabase's own addresses, as the role and with real claims.

A user has the rights of all of their roles. Roles lie in ` + "`public.user_roles`" + ` and are asked there at every request, so that one that is taken away is gone at once. A user without a role sees nothing but their own profile. A blank cell is a refusal: 403 in REST, SQLSTATE 42501 or no row in SQL. "Own" is what carries one's id: ` + "`owner_id`, `created_by`, `registered_by`" + `; what is created is always created in one's own name.

* **Members of a namespace** have a role in it as well. It widens a right that a role of the whole cluster gives, and never gives one by itself: a viewer in the namespace sees its pods and their packs, a developer also makes pods there, an operator stops and labels the pods of the others, an admin also says who the members are. The last admin of a namespace cannot leave it without the staff.
* **A private pack and its pods** are invisible to others: they get 404 and no rows. Its owner shows it by making it public, or by putting a pod of it into a namespace that has members. A public pack may be deployed by everybody who may create pods, one that is shown only through a namespace by its owner and the staff alone.
* **node** is the credential of a node. It opens the socket ` + "`/ws`" + ` and nothing else; through it a node speaks for its own row and the runs assigned to it.
* **anonymous** is whoever has no account, and anonymous accounts of Supabase Auth, whatever roles somebody has given them.

`

// words names a kind for the table.
var words = map[Kind]string{
	Pack: "packs", Bundle: "bundles in Storage", Pod: "pods", Node: "nodes", JoinToken: "join tokens",
	Namespace: "namespaces", NamespaceMember: "members of namespaces", PriorityClass: "priority classes",
	ClusterConfig: "settings of the cluster", User: "accounts", UserRole: "roles of users", Profile: "one's own profile",
}

// Markdown prints the table as docs/rights.md has it.
func Markdown() string {
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("| kind | action |")
	for _, r := range Columns {
		fmt.Fprintf(&b, " %s |", r)
	}
	b.WriteString("\n| --- | --- |" + strings.Repeat(" --- |", len(Columns)) + "\n")
	for _, k := range Kinds {
		for _, a := range Actions {
			if _, some := table[k][a]; some {
				line(&b, k, a)
			}
		}
	}
	b.WriteString("\nWhat has no line is done by nobody: no right leads there.\n")
	return b.String()
}

func line(b *strings.Builder, k Kind, a Action) {
	fmt.Fprintf(b, "| %s | %s |", words[k], a)
	for _, r := range Columns {
		scope := ScopeOf(r, a, k)
		if scope != None {
			scope += " "
		}
		fmt.Fprintf(b, " %s|", scope)
	}
	b.WriteString("\n")
}
