package postgres_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A server may believe for a moment that somebody still has the role that was just
// taken away. The database does not: such a caller makes no admin, lets no node in,
// and reaches neither tokens nor credentials of others.
func TestRolesOfAMomentAgoGiveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann := w.user(t, api.RoleDeveloper)
	reg := w.node(t, ann, "n1")
	token := must(w.CreateJoinToken(ctx, ann, api.CreateJoinTokenRequest{}))(t)
	w.user(t, api.RoleAdmin) // who stays
	for _, was := range []api.Role{api.RoleAdmin, api.RoleOperator, api.RoleDeveloper} {
		eve := w.user(t, was)
		mine := must(w.CreateJoinToken(ctx, eve, api.CreateJoinTokenRequest{}))(t)
		if was != api.RoleDeveloper { // with the role the calls below do what they are for
			if n := len(must(w.ListJoinTokens(ctx, eve))(t)); n < 2 {
				t.Errorf("%s sees %d tokens", was, n)
			}
			if err := w.RotateCredential(ctx, eve, reg.Node.ID); err != nil {
				t.Errorf("%s: %v", was, err)
			}
		}
		w.exec(t, `delete from public.user_roles where user_id = $1 and role <> 'viewer'`, eve.UserID)

		wantCode(t, w.SetRoles(ctx, eve, eve.UserID, []api.Role{api.RoleAdmin}), fault.Forbidden)
		accomplice := w.user(t)
		wantCode(t, w.SetRoles(ctx, eve, accomplice.UserID, []api.Role{api.RoleViewer, api.RoleAdmin}), fault.Forbidden)
		for _, id := range []access.Identity{eve, accomplice} {
			if roles, _, err := w.UserRoles(ctx, id.UserID); err != nil || len(roles) != 1 || roles[0] != api.RoleViewer {
				t.Errorf("after %s: %v, %v", was, roles, err)
			}
		}
		_, err := w.CreateJoinToken(ctx, eve, api.CreateJoinTokenRequest{})
		wantCode(t, err, fault.Forbidden)
		if seen := must(w.ListJoinTokens(ctx, eve))(t); len(seen) != 1 || seen[0].ID != mine.ID {
			t.Errorf("after %s: sees %+v", was, seen)
		}
		wantCode(t, w.RevokeJoinToken(ctx, eve, token.ID), fault.NotFound)
		wantCode(t, w.RotateCredential(ctx, eve, reg.Node.ID), fault.Forbidden)
		wantCode(t, w.RevokeCredentials(ctx, eve, reg.Node.ID), fault.Forbidden)
	}
	if got := must(w.NodeByCredential(ctx, reg.Credential))(t); got.NodeID != reg.Node.ID {
		t.Errorf("the node's credential belongs to %+v", got)
	}
}
