package access

import "github.com/stark-orchestrator/stark/shared/api"

// The Visible functions answer as the SELECT policies do, for callers that read
// from memory. memberOf tells whether the identity is a member of a namespace.

// VisiblePod reports whether the identity may see a pod: its creator, members of
// its namespace, admins and operators may, and the node that runs it.
func VisiblePod(i Identity, p api.Pod, memberOf func(namespace string) bool) bool {
	if i.NodeID != "" {
		return p.NodeID != nil && *p.NodeID == i.NodeID
	}
	if !i.Can(Read, Pod) {
		return false
	}
	return i.Staff() || own(i, p.CreatedBy) || memberOf(p.Namespace)
}

// VisiblePack reports whether the identity may see a pack: its owner, admins and
// operators may, everybody when it is public, and the members of namespaces that
// have pods of it, which inMine tells.
func VisiblePack(i Identity, p api.Pack, inMine func(packID string) bool) bool {
	return i.Can(Read, Pack) && (p.Visibility == api.VisibilityPublic || own(i, p.OwnerID) || i.Staff() || inMine(p.ID))
}

// VisibleNode reports whether the identity may see a node: every user with a role
// may, and a node sees itself.
func VisibleNode(i Identity, n api.Node) bool {
	if i.NodeID != "" {
		return n.ID == i.NodeID
	}
	return i.Can(Read, Node)
}

// VisibleNamespace reports whether the identity may see a namespace.
func VisibleNamespace(i Identity, _ api.Namespace) bool { return i.Can(Read, Namespace) }

// VisibleUser reports whether the identity may see a profile: everybody sees
// their own, admins and operators all.
func VisibleUser(i Identity, u api.User) bool {
	return !i.Anonymous && (own(i, u.ID) || i.Can(Read, User))
}

func own(i Identity, owner string) bool { return i.UserID != "" && i.UserID == owner }
