package postgres

import (
	"context"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Registrar is by what right a node registers: one of its parts is set, by a
// caller that has checked a user's rights or a node's credential.
type Registrar struct {
	UserID    string // of a user with the right to register nodes
	Shared    bool   // the user is staff, so the node serves everybody
	JoinToken string // checked and used up here
	NodeID    string // the connection came with this node's credential

	CredentialID string // the one that was shown, with NodeID

	Proposed string // the credential that the agent has made for itself; "" for none
}

// RegisterMeta is what the connection tells about a node.
type RegisterMeta struct {
	Session   string // names the connection, in the lease
	IP        string
	UserAgent string
}

// Registration is the outcome: Credential is set when a new one was issued, and
// CredentialID names the one that the node is to use from now on.
type Registration struct {
	Node         api.Node
	Credential   string
	CredentialID string
}

// RegisterNode takes a node in, in one transaction, which it may share with others that
// register at the same time: it uses up the join token, makes the node or finds the one
// that the registrar owns, issues a credential where none was shown, and starts the lease
// of the session.
//
// A name stays with its owner. Whoever owns an existing node and comes without
// its credential replaces it, and the old credential ends; by a join token that
// is possible only while the node is not connected.
//
// A call whose ctx ends before another one begins starts no lease after that one's.
func (db *DB) RegisterNode(ctx context.Context, by Registrar, r api.RegisterNodeRequest, m RegisterMeta) (Registration, error) {
	if by.NodeID != "" {
		return db.comeBack(ctx, by, r, m)
	}
	return db.join(ctx, by, r, m)
}

// truncate keeps a user agent within its column.
func truncate(s string) string {
	const most = 512
	if len(s) > most {
		return s[:most]
	}
	return s
}
