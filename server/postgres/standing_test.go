package postgres_test

import (
	"slices"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A node is in the cluster by the right of whoever registered it, and leaves it
// in the transaction that takes the right away.
func TestNodesLeaveWithTheRightsOfTheirOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	admin, ann := w.user(t, api.RoleAdmin), w.user(t, api.RoleDeveloper)
	reg := w.node(t, ann, "n1")
	by := postgres.Registrar{NodeID: reg.Node.ID, CredentialID: reg.CredentialID}
	req := api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode}
	if got := must(w.NodeByCredential(ctx, reg.Credential))(t); got.NodeID != reg.Node.ID {
		t.Fatalf("the credential belongs to %+v", got)
	}

	if err := w.SetRoles(ctx, admin, ann.UserID, []api.Role{api.RoleViewer}); err != nil {
		t.Fatal(err)
	}
	if n := must(w.GetNode(ctx, admin, reg.Node.ID))(t); n.Status != api.NodeOffline {
		t.Errorf("the node is %s", n.Status)
	}
	_, err := w.NodeByCredential(ctx, reg.Credential)
	wantCode(t, err, fault.TokenInvalid)
	if usable := must(w.UsableCredentials(ctx, []string{reg.CredentialID}))(t); len(usable) != 0 {
		t.Error("the connection may go on")
	}
	_, err = w.RegisterNode(ctx, by, req, postgres.RegisterMeta{Session: "n1"})
	wantCode(t, err, fault.Conflict)
	if lost := must(w.RenewLeases(ctx, []string{reg.Node.ID}, []string{"n1"}))(t); !slices.Contains(lost, reg.Node.ID) {
		t.Error("the connection does not learn that it has lost its node")
	}

	if err := w.SetRoles(ctx, admin, ann.UserID, []api.Role{api.RoleDeveloper}); err != nil {
		t.Fatal(err)
	}
	must(w.NodeByCredential(ctx, reg.Credential))(t)
	if back := must(w.RegisterNode(ctx, by, req, postgres.RegisterMeta{Session: "n2"}))(t); back.Node.Status != api.NodeOnline {
		t.Errorf("with the right its node is %s again", back.Node.Status)
	}
}

func TestNodesServeEverybodyByStaffOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	admin, olga := w.user(t, api.RoleAdmin), w.user(t, api.RoleOperator)
	w.exec(t, `insert into public.namespaces (name) values ('in'), ('out')`)
	w.exec(t, `insert into public.namespace_members (namespace, user_id) values ('in', $1)`, olga.UserID)
	reg := w.node(t, olga, "n1")
	w.exec(t, `update public.nodes set namespaces = '{in,out}'`)
	node := func() api.Node { t.Helper(); return must(w.GetNode(ctx, admin, reg.Node.ID))(t) }
	if !node().Shared {
		t.Fatal("the node of an operator is not shared")
	}
	// The server may be wrong about who is staff; the database is not.
	if liar := w.node(t, w.user(t, api.RoleDeveloper), "n2"); liar.Node.Shared {
		t.Error("the node of a developer is shared")
	}

	if err := w.SetRoles(ctx, admin, olga.UserID, []api.Role{api.RoleDeveloper}); err != nil {
		t.Fatal(err)
	}
	if n := node(); n.Shared || n.Status != api.NodeOnline || !slices.Equal(n.Namespaces, []string{"in"}) {
		t.Errorf("an operator's node after the role is gone: %+v", n)
	}
	take := func(who, whom string) error {
		return w.AsUser(ctx, access.Identity{UserID: who}, func(tx postgres.Tx) error {
			_, err := tx.Exec(ctx, `update public.nodes set registered_by = $1 where id = $2`, whom, reg.Node.ID)
			return err
		})
	}
	wantCode(t, take(olga.UserID, admin.UserID), fault.Forbidden)
	wantCode(t, take(admin.UserID, w.user(t, api.RoleAdmin).UserID), fault.Forbidden)
	wantCode(t, take(admin.UserID, admin.UserID), fault.Forbidden) // it is olga's own now
	if err := w.SetRoles(ctx, admin, olga.UserID, nil); err != nil {
		t.Fatal(err)
	}
	if n := node(); n.Status != api.NodeOffline {
		t.Errorf("a node that nobody answers for is %s", n.Status)
	}
	if err := take(admin.UserID, admin.UserID); err != nil {
		t.Fatal(err)
	}
	if n := node(); !n.Shared || n.RegisteredBy != admin.UserID {
		t.Errorf("a node that an admin took over: %+v", n)
	}
	if err := take(w.user(t, api.RoleDeveloper).UserID, olga.UserID); err != nil || node().RegisteredBy != admin.UserID {
		t.Errorf("a developer took a node, %v", err)
	}
	boss := w.user(t, api.RoleAdmin)
	if n, err := w.TakeNode(ctx, boss, reg.Node.ID); err != nil || n.RegisteredBy != boss.UserID || !n.Shared {
		t.Errorf("a shared node changes hands among the staff: %+v, %v", n, err)
	}
	_, err := w.TakeNode(ctx, w.user(t, api.RoleDeveloper), reg.Node.ID)
	wantCode(t, err, fault.Forbidden)
	admin = boss
	// An account that goes takes its nodes out of service, and can go.
	w.exec(t, `insert into public.user_roles (user_id, role) values ($1, 'admin')`, olga.UserID)
	w.exec(t, `delete from auth.users where id = $1`, admin.UserID)
	n := must(w.GetNode(ctx, olga, reg.Node.ID))(t)
	if n.Shared || n.RegisteredBy != "" || n.Status != api.NodeOffline {
		t.Errorf("a node whose owner is gone: %+v", n)
	}
	_, err = w.NodeByCredential(ctx, reg.Credential)
	wantCode(t, err, fault.TokenInvalid)
}
