package postgres_test

import (
	"maps"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

// What a join token presets and what an operator has said of a node stands, whatever
// the agent says when it comes back: labels decide which pods a machine gets.
func TestAnAgentDoesNotRelabelItsNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	admin := w.user(t, api.RoleAdmin)
	token := func(labels map[string]string) string {
		t.Helper()
		return must(w.CreateJoinToken(ctx, admin, api.CreateJoinTokenRequest{Labels: labels}))(t).Token
	}
	says := api.RegisterNodeRequest{
		Name: "n1", RuntimeType: api.RuntimeNode,
		Labels:      map[string]string{"zone": "vault", "rack": "7", "disk": "ssd"},
		Annotations: map[string]string{"owner": "me"},
	}
	reg := must(w.RegisterNode(ctx, postgres.Registrar{JoinToken: token(map[string]string{"zone": "dmz"})}, says, postgres.RegisterMeta{Session: "s1"}))(t)
	want := map[string]string{"zone": "dmz", "rack": "7", "disk": "ssd"}
	check := func(step string, n api.Node, annotation string) {
		t.Helper()
		if !maps.Equal(n.Labels, want) || n.Annotations["owner"] != annotation {
			t.Errorf("%s: got %v %v, want %v and %s", step, n.Labels, n.Annotations, want, annotation)
		}
	}
	check("it joins", reg.Node, "me")

	w.exec(t, `update public.nodes set labels = labels || '{"rack":"8"}', annotations = '{"owner":"us"}'`)
	want["rack"], want["new"] = "8", "1"
	says.Labels["new"] = "1" // adding is its right
	by := postgres.Registrar{NodeID: reg.Node.ID, CredentialID: reg.CredentialID}
	check("it comes back", must(w.RegisterNode(ctx, by, says, postgres.RegisterMeta{Session: "s2"}))(t).Node, "us")

	w.exec(t, `update public.nodes set status = 'offline'`)
	want["zone"] = "lab"
	again := must(w.RegisterNode(ctx, postgres.Registrar{JoinToken: token(map[string]string{"zone": "lab"})}, says, postgres.RegisterMeta{Session: "s3"}))(t)
	check("it joins by another token", again.Node, "us")

	// Whoever answers for the node registers it as they like.
	maps.Copy(want, says.Labels)
	check("its owner registers it anew", must(w.RegisterNode(ctx, postgres.Registrar{UserID: admin.UserID, Shared: true}, says, postgres.RegisterMeta{Session: "s4"}))(t).Node, "me")
}
