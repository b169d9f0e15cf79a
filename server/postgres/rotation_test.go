package postgres_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestACredentialIsRotatedWithoutLockingItsNodeOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann := w.user(t, api.RoleDeveloper)
	reg := w.node(t, ann, "n1")
	comeBack := func(secret string) postgres.Registration {
		t.Helper()
		c := must(w.NodeByCredential(ctx, secret))(t)
		return must(w.RegisterNode(ctx, postgres.Registrar{NodeID: c.NodeID, CredentialID: c.ID},
			api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode}, postgres.RegisterMeta{Session: api.NewID()}))(t)
	}
	usable := func(ids ...string) []string {
		t.Helper()
		return must(w.UsableCredentials(ctx, ids))(t)
	}
	if err := w.RotateCredential(ctx, ann, reg.Node.ID); err != nil {
		t.Fatal(err)
	}
	if got := usable(reg.CredentialID); len(got) != 0 {
		t.Errorf("usable: %v", got)
	}
	lost := comeBack(reg.Credential) // an answer that never arrives
	second := comeBack(reg.Credential)
	if second.Credential == "" || second.Credential == lost.Credential || second.CredentialID == reg.CredentialID {
		t.Fatalf("got %+v", second)
	}
	_, err := w.NodeByCredential(ctx, lost.Credential)
	wantCode(t, err, fault.TokenInvalid)
	if got := usable(reg.CredentialID, second.CredentialID); !slices.Equal(got, []string{second.CredentialID}) {
		t.Errorf("usable: %v", got)
	}
	must(w.NodeByCredential(ctx, reg.Credential))(t) // still good
	if third := comeBack(second.Credential); third.Credential != "" || third.CredentialID != second.CredentialID {
		t.Errorf("got %+v", third)
	}
	_, err = w.NodeByCredential(ctx, reg.Credential)
	wantCode(t, err, fault.TokenInvalid)

	// The same by a heartbeat instead of the next connection.
	if err := w.RotateCredential(ctx, ann, reg.Node.ID); err != nil {
		t.Fatal(err)
	}
	fourth := comeBack(second.Credential)
	if err := w.ConfirmCredential(ctx, fourth.CredentialID); err != nil {
		t.Fatal(err)
	}
	_, err = w.NodeByCredential(ctx, second.Credential)
	wantCode(t, err, fault.TokenInvalid)
	must(w.NodeByCredential(ctx, fourth.Credential))(t)
}

func TestWhoMayEndACredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, bob, viewer, op := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper), w.user(t), w.user(t, api.RoleOperator)
	reg := w.node(t, ann, "n1")
	for _, who := range []struct {
		name string
		err  error
		want fault.Code
	}{
		{"another developer", w.RevokeCredentials(ctx, bob, reg.Node.ID), fault.Forbidden},
		{"another developer rotates", w.RotateCredential(ctx, bob, reg.Node.ID), fault.Forbidden},
		{"a viewer", w.RevokeCredentials(ctx, viewer, reg.Node.ID), fault.Forbidden},
		{"a node that is not there", w.RevokeCredentials(ctx, ann, api.NewID()), fault.NotFound},
		{"no id", w.RotateCredential(ctx, ann, "n1"), fault.NotFound},
	} {
		if got := fault.CodeOf(who.err); got != who.want {
			t.Errorf("%s: %v, want %s", who.name, who.err, who.want)
		}
	}
	nodes := make(chan []string, 10)
	feeding(t, w, postgres.Config{OnEnded: func(_, ids []string) { nodes <- ids }})
	if err := w.RevokeCredentials(ctx, op, reg.Node.ID); err != nil {
		t.Fatal(err)
	}
	for told := false; !told; {
		select {
		case ids := <-nodes:
			told = slices.Contains(ids, reg.Node.ID)
		case <-time.After(patience):
			t.Fatal("the end of the credential was not announced")
		}
	}
	_, err := w.NodeByCredential(ctx, reg.Credential)
	wantCode(t, err, fault.TokenInvalid)
	_, err = w.RegisterNode(ctx, postgres.Registrar{NodeID: reg.Node.ID, CredentialID: reg.CredentialID},
		api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode}, postgres.RegisterMeta{})
	wantCode(t, err, fault.TokenInvalid)
	wantCode(t, w.RotateCredential(ctx, ann, reg.Node.ID), fault.InvalidState)
}
