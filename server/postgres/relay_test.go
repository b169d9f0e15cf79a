package postgres_test

import (
	"context"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A pass is for one request to one server, which must be there, for a node that is
// connected to it.
func TestRelayPasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.user(t, api.RoleAdmin)
	node, pod := w.node(t, owner, "here").Node.ID, api.NewID()
	other := open(t, postgres.Config{URL: w.at.URL})
	refused := func(what string, want fault.Code) {
		t.Helper()
		if _, err := other.RelayPass(t.Context(), node, pod); fault.CodeOf(err) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("a server that has told no address", fault.Unavailable)
	for range 2 { // the second time it is renewed
		if err := w.AnnounceServer(t.Context(), "http://there:1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.RelayPass(t.Context(), node, pod); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("a pass to itself: %v", err)
	}
	pass := must(other.RelayPass(t.Context(), node, pod))(t)
	if pass.Address != "http://there:1" || pass.Secret == "" {
		t.Errorf("got %+v", pass)
	}
	if n := value[int](t, w, "select count(*) from stark.relay_passes p where position(convert_to($1, 'latin1') in p.secret_hash) > 0", pass.Secret); n != 0 {
		t.Error("the pass is stored as it is")
	}
	if _, err := other.RedeemRelayPass(t.Context(), pass.Secret); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("at another server: %v", err)
	}
	if got := must(w.RedeemRelayPass(t.Context(), pass.Secret))(t); got != (postgres.RelayTarget{NodeID: node, PodID: pod}) {
		t.Errorf("got %+v", got)
	}
	if _, err := w.RedeemRelayPass(t.Context(), pass.Secret); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("a second time: %v", err)
	}
	late := must(other.RelayPass(t.Context(), node, pod))(t)
	w.exec(t, "update stark.relay_passes set expires_at = now()")
	if _, err := w.RedeemRelayPass(t.Context(), late.Secret); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("too late: %v", err)
	}
	w.exec(t, "update stark.servers set renewed_at = now() - interval '31 seconds'")
	refused("a server that is silent", fault.Unavailable)
	if err := w.WithdrawServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused("a server that has gone", fault.Unavailable)
	if _, err := other.RelayPass(t.Context(), "no id", pod); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("no id: %v", err)
	}
}

// What nobody used goes with the leader's upkeep.
func TestRelayUpkeep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	node := w.node(t, w.user(t, api.RoleAdmin), "here").Node.ID
	if err := w.AnnounceServer(t.Context(), "http://there:1"); err != nil {
		t.Fatal(err)
	}
	other := open(t, postgres.Config{URL: w.at.URL})
	for range 2 {
		must(other.RelayPass(t.Context(), node, api.NewID()))(t)
	}
	w.exec(t, `update stark.relay_passes set expires_at = now() - interval '2 minutes'
		where secret_hash = (select secret_hash from stark.relay_passes limit 1)`)
	w.exec(t, "insert into stark.servers (id, address, renewed_at) values ('old', 'http://old:1', now() - interval '2 hours')")
	w.lead(t, func(ctx context.Context) {
		if _, err := w.Compact(ctx); err != nil {
			t.Error(err)
		}
	})
	if passes, servers := value[int](t, w, "select count(*) from stark.relay_passes"), value[int](t, w, "select count(*) from stark.servers"); passes != 1 || servers != 1 {
		t.Errorf("%d passes and %d servers are left, want one of each", passes, servers)
	}
}
