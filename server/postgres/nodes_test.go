package postgres_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestNodesOfTwoUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, bob, op := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper), w.user(t, api.RoleOperator)
	n := must(w.CreateNode(ctx, ann, api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode, Labels: map[string]string{"zone": "a"}}))(t)
	if n.Status != api.NodeOffline || n.Shared || n.RegisteredBy != ann.UserID || n.Allocatable.Pods != 110 {
		t.Errorf("got %+v", n)
	}
	shared := must(w.CreateNode(ctx, op, api.RegisterNodeRequest{Name: "n2", RuntimeType: api.RuntimeBrowser, Allocatable: &api.Capacity{CPU: 5}}))(t)
	if !shared.Shared || shared.Allocatable.CPU != 5 {
		t.Errorf("got %+v", shared)
	}
	_, err := w.CreateNode(ctx, bob, api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode})
	wantCode(t, err, fault.Conflict)
	_, err = w.CreateNode(ctx, w.user(t, api.RoleViewer), api.RegisterNodeRequest{Name: "n9", RuntimeType: api.RuntimeNode})
	wantCode(t, err, fault.Forbidden)

	got := must(w.GetNodeByName(ctx, bob, "n1"))(t)
	if got.ID != n.ID || must(w.GetNode(ctx, bob, n.ID))(t).Name != "n1" {
		t.Errorf("got %+v", got)
	}
	_, err = w.GetNodeByName(ctx, bob, "none")
	wantCode(t, err, fault.NotFound)
	_, err = w.UpdateNode(ctx, bob, n.ID, api.UpdateNodeRequest{Unschedulable: new(true)})
	wantCode(t, err, fault.Forbidden)
	changed := must(w.UpdateNode(ctx, ann, n.ID, api.UpdateNodeRequest{
		Unschedulable: new(true), Taints: &[]api.Taint{{Key: "k", Effect: api.NoSchedule}}, Labels: map[string]string{"zone": "b"},
		Allocatable: &api.Capacity{CPU: 7}, Annotations: map[string]string{"x": "y"}, Namespaces: &[]string{},
	}))(t)
	if !changed.Unschedulable || changed.Taints[0].Key != "k" || changed.Labels["zone"] != "b" || changed.Allocatable.CPU != 7 {
		t.Errorf("got %+v", changed)
	}
	_, err = w.UpdateNode(ctx, ann, n.ID, api.UpdateNodeRequest{Namespaces: &[]string{"stark-system"}})
	wantCode(t, err, fault.Forbidden)
	for _, c := range []struct {
		q    api.NodeQuery
		want int
	}{
		{api.NodeQuery{}, 2},
		{api.NodeQuery{RuntimeType: api.RuntimeBrowser}, 1},
		{api.NodeQuery{Status: api.NodeOnline}, 0},
		{api.NodeQuery{Search: "N1"}, 1},
		{api.NodeQuery{LabelSelector: "zone=b"}, 1},
	} {
		if page, err := w.ListNodes(ctx, bob, c.q); err != nil || page.Total != c.want {
			t.Errorf("%+v: got %d, %v; want %d", c.q, page.Total, err, c.want)
		}
	}
	_, err = w.ListNodes(ctx, bob, api.NodeQuery{LabelSelector: "!"})
	wantCode(t, err, fault.Validation)
	wantCode(t, w.DeleteNode(ctx, bob, n.ID), fault.Forbidden)
	if err := w.DeleteNode(ctx, op, n.ID); err != nil {
		t.Error(err)
	}
}

func TestJoinTokensLetNodesIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, op, viewer := w.user(t, api.RoleDeveloper), w.user(t, api.RoleOperator), w.user(t, api.RoleViewer)
	_, err := w.CreateJoinToken(ctx, viewer, api.CreateJoinTokenRequest{})
	wantCode(t, err, fault.Forbidden)
	j := must(w.CreateJoinToken(ctx, ann, api.CreateJoinTokenRequest{
		Uses: 2, TTLSeconds: 60, Labels: map[string]string{"zone": "preset"}, Taints: []api.Taint{{Key: "k", Effect: api.NoSchedule}},
	}))(t)
	if !strings.HasPrefix(j.Token, api.JoinTokenPrefix) || j.Uses != 2 {
		t.Errorf("got %+v", j)
	}
	if n := value[int](t, w, "select count(*) from stark.join_tokens where secret_hash::text like '%stark_join%'"); n != 0 {
		t.Error("the secret is stored")
	}
	if err := w.JoinTokenValid(ctx, j.Token); err != nil {
		t.Error(err)
	}
	wantCode(t, w.JoinTokenValid(ctx, "stark_join_x"), fault.TokenInvalid)

	by := postgres.Registrar{JoinToken: j.Token}
	req := api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode, Labels: map[string]string{"zone": "own", "a": "b"}}
	first := must(w.RegisterNode(ctx, by, req, postgres.RegisterMeta{Session: "s1", IP: "10.0.0.1", UserAgent: strings.Repeat("x", 600)}))(t)
	n := first.Node
	if n.Status != api.NodeOnline || n.Labels["zone"] != "preset" || n.Labels["a"] != "b" || len(n.Taints) != 1 || n.Shared || n.RegisteredBy != ann.UserID {
		t.Errorf("got %+v", n)
	}
	if c := must(w.NodeByCredential(ctx, first.Credential))(t); c.NodeID != n.ID || c.ID != first.CredentialID {
		t.Errorf("got %+v", c)
	}
	// The name is taken while its node is connected; a refusal gives the use back.
	_, err = w.RegisterNode(ctx, by, req, postgres.RegisterMeta{Session: "s2"})
	wantCode(t, err, fault.Conflict)
	if err := w.SetNodeStatus(ctx, n.ID, "s1", api.NodeOffline); err != nil {
		t.Fatal(err)
	}
	second := must(w.RegisterNode(ctx, by, req, postgres.RegisterMeta{Session: "s2"}))(t)
	if second.Node.ID != n.ID {
		t.Errorf("the node has a new id")
	}
	_, err = w.NodeByCredential(ctx, first.Credential)
	wantCode(t, err, fault.TokenInvalid)
	_, err = w.RegisterNode(ctx, by, api.RegisterNodeRequest{Name: "n2", RuntimeType: api.RuntimeNode}, postgres.RegisterMeta{})
	wantCode(t, err, fault.TokenInvalid)

	if l := must(w.ListJoinTokens(ctx, op))(t); len(l) != 1 || l[0].State != api.TokenUsed {
		t.Errorf("the used token: %+v", l)
	}
	j = must(w.CreateJoinToken(ctx, ann, api.CreateJoinTokenRequest{}))(t)
	mine := must(w.CreateJoinToken(ctx, op, api.CreateJoinTokenRequest{}))(t)
	if a, b := must(w.ListJoinTokens(ctx, ann))(t), must(w.ListJoinTokens(ctx, op))(t); len(a) != 2 || len(b) != 3 || a[0].Token != "" || a[0].State != api.TokenActive {
		t.Errorf("got %d and %d tokens", len(a), len(b))
	}
	_, err = w.ListJoinTokens(ctx, viewer)
	wantCode(t, err, fault.Forbidden)
	wantCode(t, w.RevokeJoinToken(ctx, ann, mine.ID), fault.NotFound)
	wantCode(t, w.RevokeJoinToken(ctx, viewer, mine.ID), fault.Forbidden)
	if err := w.RevokeJoinToken(ctx, op, j.ID); err != nil {
		t.Error(err)
	}
	wantCode(t, w.JoinTokenValid(ctx, j.Token), fault.TokenInvalid)
	w.exec(t, "update stark.join_tokens set expires_at = now() - interval '1 hour' where id = $1", mine.ID)
	var states []api.TokenState
	for _, l := range must(w.ListJoinTokens(ctx, op))(t) {
		states = append(states, l.State)
	}
	if want := []api.TokenState{api.TokenExpired, api.TokenRevoked, api.TokenUsed}; !slices.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
}

// Who registers again with what it has proposed before is the same node, whoever saw the
// first answer, and takes no second use of the token.
func TestAProposedCredentialRegistersOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, bob := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper)
	j := must(w.CreateJoinToken(ctx, ann, api.CreateJoinTokenRequest{Uses: 3}))(t)
	secret := api.NewCredential([api.CredentialBytes]byte{1, 2, 3})
	by := postgres.Registrar{JoinToken: j.Token, Proposed: secret}
	req := api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode}
	uses := func() int { return must(w.ListJoinTokens(ctx, ann))(t)[0].Uses }

	// At once, as by an agent that gave up waiting and asks again.
	const many = 4
	all := make([]postgres.Registration, many)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = w.RegisterNode(ctx, by, req, postgres.RegisterMeta{Session: strconv.Itoa(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range all {
		if r.Node.ID != all[0].Node.ID || r.CredentialID != all[0].CredentialID || r.Credential != "" {
			t.Errorf("got %+v, want the same as %+v and no secret", r, all[0])
		}
	}
	if n := uses(); n != 2 {
		t.Errorf("%d uses are left, want 2", n)
	}
	if c := must(w.NodeByCredential(ctx, secret))(t); c.NodeID != all[0].Node.ID {
		t.Errorf("the credential is of %+v", c)
	}
	// The same with a user's token.
	again := must(w.RegisterNode(ctx, postgres.Registrar{UserID: ann.UserID, Proposed: secret}, req, postgres.RegisterMeta{Session: "s"}))(t)
	if again.Node.ID != all[0].Node.ID || again.CredentialID != all[0].CredentialID {
		t.Errorf("got %+v", again)
	}

	// It is the credential of this one node.
	other := req
	other.Name = "n2"
	_, err := w.RegisterNode(ctx, by, other, postgres.RegisterMeta{})
	wantCode(t, err, fault.Conflict)
	// Nobody else's proposal takes the name.
	by.Proposed = api.NewCredential([api.CredentialBytes]byte{9})
	for status, want := range map[string]string{"online": "is connected", "suspect": "try again in half a minute"} {
		w.exec(t, "update public.nodes set status = $1::public.node_status where id = $2", status, again.Node.ID)
		_, err = w.RegisterNode(ctx, by, req, postgres.RegisterMeta{})
		if wantCode(t, err, fault.Conflict); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("the name of a node that is %s: %v", status, err)
		}
	}
	_, err = w.RegisterNode(ctx, postgres.Registrar{UserID: bob.UserID, Proposed: by.Proposed}, req, postgres.RegisterMeta{})
	wantCode(t, err, fault.Conflict)
	if n := uses(); n != 2 {
		t.Errorf("%d uses are left, want 2", n)
	}
	// What was revoked does not become good by being proposed again.
	if err := w.RevokeCredentials(ctx, ann, all[0].Node.ID); err != nil {
		t.Fatal(err)
	}
	by.Proposed = secret
	_, err = w.RegisterNode(ctx, by, req, postgres.RegisterMeta{})
	wantCode(t, err, fault.Validation)
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("the refusal repeats the secret: %v", err)
	}
	if n := value[int](t, w, "select count(*) from stark.node_credentials"); n != 1 {
		t.Errorf("%d credentials, want 1", n)
	}
}

func TestNodesComeBackByCredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, bob := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper)
	reg := w.node(t, ann, "n1")
	req := api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode, Labels: map[string]string{"a": "b"}, Allocatable: &api.Capacity{CPU: 9}}
	back := must(w.RegisterNode(ctx, postgres.Registrar{NodeID: reg.Node.ID, CredentialID: reg.CredentialID}, req, postgres.RegisterMeta{Session: "s2"}))(t)
	if back.Node.ID != reg.Node.ID || back.Credential != "" || back.Node.Allocatable.CPU != 9 || back.Node.Labels["a"] != "b" {
		t.Errorf("got %+v", back)
	}
	req.Name = "n2"
	_, err := w.RegisterNode(ctx, postgres.Registrar{NodeID: reg.Node.ID, CredentialID: reg.CredentialID}, req, postgres.RegisterMeta{})
	wantCode(t, err, fault.Conflict)
	req.Name = "n1"
	_, err = w.RegisterNode(ctx, postgres.Registrar{UserID: bob.UserID}, req, postgres.RegisterMeta{})
	wantCode(t, err, fault.Conflict)
	_, err = w.RegisterNode(ctx, postgres.Registrar{}, req, postgres.RegisterMeta{})
	wantCode(t, err, fault.Forbidden)
	again := must(w.RegisterNode(ctx, postgres.Registrar{UserID: ann.UserID}, req, postgres.RegisterMeta{Session: "s3"}))(t)
	if again.Node.ID != reg.Node.ID || again.Credential == "" {
		t.Errorf("got %+v", again)
	}
	_, err = w.NodeByCredential(ctx, reg.Credential)
	wantCode(t, err, fault.TokenInvalid)

	// Only the newest session speaks for the node.
	status := func() api.NodeStatus { return must(w.GetNode(ctx, ann, reg.Node.ID))(t).Status }
	for _, c := range []struct {
		session string
		set     api.NodeStatus
		want    api.NodeStatus
	}{
		{"s2", api.NodeSuspect, api.NodeOnline},
		{"s3", api.NodeSuspect, api.NodeSuspect},
		{"s3", api.NodeOnline, api.NodeOnline},
		{"s3", api.NodeOffline, api.NodeOffline},
	} {
		if err := w.SetNodeStatus(ctx, reg.Node.ID, c.session, c.set); err != nil {
			t.Fatal(err)
		}
		if got := status(); got != c.want {
			t.Errorf("%s says %s: got %s, want %s", c.session, c.set, got, c.want)
		}
	}
	wantCode(t, w.SetNodeStatus(ctx, reg.Node.ID, "s3", api.NodeDraining), fault.Validation)
	wantCode(t, w.SetNodeStatus(ctx, "x", "s3", api.NodeOnline), fault.NotFound)
}

func TestRenewLeases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann := w.user(t, api.RoleOperator)
	a, b := w.node(t, ann, "a").Node, w.node(t, ann, "b").Node
	w.exec(t, "update stark.node_leases set renewed_at = now() - interval '1 hour'")
	w.exec(t, "update public.nodes set status = 'unhealthy'")
	removed := api.NewID()
	lost, err := w.RenewLeases(ctx, []string{a.ID, b.ID, removed}, []string{"a", "old", "c"})
	if err != nil {
		t.Fatal(err)
	}
	// a was given up as silent, so its session must say anew what is alive on it.
	if len(lost) != 3 || !slices.Contains(lost, a.ID) || !slices.Contains(lost, b.ID) || !slices.Contains(lost, removed) {
		t.Errorf("lost %v, want %s, %s and %s", lost, a.ID, b.ID, removed)
	}
	if again, err := w.RenewLeases(ctx, []string{a.ID}, []string{"a"}); err != nil || len(again) != 0 {
		t.Errorf("of one that is online: lost %v, %v", again, err)
	}
	if n := value[int](t, w, "select count(*) from stark.node_leases where renewed_at > now() - interval '1 minute'"); n != 1 {
		t.Errorf("%d leases renewed, want 1", n)
	}
	if x, y := must(w.GetNode(ctx, ann, a.ID))(t), must(w.GetNode(ctx, ann, b.ID))(t); x.Status != api.NodeOnline || y.Status != api.NodeUnhealthy {
		t.Errorf("got %s and %s", x.Status, y.Status)
	}
	if lost, err := w.RenewLeases(ctx, nil, nil); err != nil || len(lost) != 0 {
		t.Errorf("got %v, %v", lost, err)
	}
	_, err = w.RenewLeases(ctx, []string{a.ID}, nil)
	wantCode(t, err, fault.Internal)
}
