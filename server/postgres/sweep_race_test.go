package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

// silences are those after which a sweep makes a node unhealthy, and gives it up.
var silences = map[string]string{"unhealthy": "40 seconds", "given up": "1000 seconds"}

// meanwhile begins to do these for the bound node, which was silent, and keeps the locks
// that they take.
func (b *bound) meanwhile(t *testing.T, silence string, does ...string) pgx.Tx {
	t.Helper()
	b.exec(t, "update stark.node_leases set renewed_at = now() - $1::text::interval", silence)
	back := b.begin(t)
	for _, sql := range does {
		if _, err := back.Exec(t.Context(), sql, b.node.ID); err != nil {
			t.Fatal(err)
		}
	}
	return back
}

// sweeps begins a sweep of a leader that has led for long.
func (b *bound) sweeps(ctx context.Context, t *testing.T) <-chan postgres.SweepResult {
	t.Helper()
	swept := make(chan postgres.SweepResult, 1)
	go func() {
		r, err := b.SweepNodes(postgres.SinceForTest(time.Now().Add(-time.Hour))(ctx))
		if err != nil {
			t.Error(err)
		}
		swept <- r
	}()
	return swept
}

// awaitRow returns when somebody waits for a row of this database.
func (b *bound) awaitRow(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for !value[bool](t, b.world, "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')") {
		if ctx.Err() != nil {
			t.Fatal("nobody waits")
		}
	}
}

const (
	holdsNode   = "select from public.nodes n where n.id = $1 for no key update of n"
	holdsPods   = "select from public.pods p where p.node_id = $1 for update of p"
	beginsLease = "update stark.node_leases set renewed_at = now(), session = 'n2' where node_id = $1"
	renewsLease = "update stark.node_leases set renewed_at = now() where node_id = $1"
	comesOnline = "update public.nodes set status = 'online' where id = $1"
	runsItsPods = "update public.pods set status = 'running' where node_id = $1"
)

// leaves has a sweep leave the node and its pod as they are. A sweep that waits for what
// back holds waits until that is committed.
func (b *bound) leaves(t *testing.T, back pgx.Tx, waits bool) {
	t.Helper()
	b.lead(t, func(ctx context.Context) {
		swept := b.sweeps(ctx, t)
		if waits {
			b.awaitRow(t)
			if err := back.Commit(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if r := <-swept; r.Changed() {
			t.Errorf("a node that is back was swept: %+v", r)
		}
		if !waits {
			if err := back.Commit(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
	if n := must(b.GetNode(t.Context(), b.owner, b.node.ID))(t); n.Status != api.NodeOnline {
		t.Errorf("the node is %s", n.Status)
	}
	if p := b.now(t); p.Status != api.PodScheduled && p.Status != api.PodRunning {
		t.Errorf("its pod is %s", p.Status)
	}
}

// A node that comes back while a sweep waits for its row has a lease that is newer than
// what the sweep saw when it began to wait.
func TestASweepLeavesANodeThatComesBackMeanwhile(t *testing.T) {
	t.Parallel()
	for what, silence := range silences {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBound(t)
			b.leaves(t, b.meanwhile(t, silence, holdsNode, beginsLease), true)
		})
	}
}

// A heartbeat locks the lease and then the node: a sweep that waited for it in the
// other order would have one of the two fail.
func TestASweepNeitherAwaitsNorSweepsANodeWhoseHeartbeatIsBeingStored(t *testing.T) {
	t.Parallel()
	for what, silence := range silences {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBound(t)
			b.leaves(t, b.meanwhile(t, silence, renewsLease), false)
		})
	}
}

// The pods of a node that comes back may be what the sweep waits for.
func TestASweepLeavesPodsWhoseNodeComesBackMeanwhile(t *testing.T) {
	t.Parallel()
	for what, silence := range silences {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBound(t)
			status := "unhealthy"
			if what == "given up" {
				status = "offline"
			}
			b.exec(t, "update public.nodes set status = $1::text::public.node_status", status)
			pods := b.meanwhile(t, silence, holdsPods)
			b.lead(t, func(ctx context.Context) {
				swept := b.sweeps(ctx, t)
				b.awaitRow(t)
				for _, sql := range []string{renewsLease, comesOnline} {
					b.exec(t, sql, b.node.ID)
				}
				if _, err := pods.Exec(ctx, runsItsPods, b.node.ID); err != nil {
					t.Fatal(err)
				}
				if err := pods.Commit(ctx); err != nil {
					t.Fatal(err)
				}
				if r := <-swept; r.Changed() {
					t.Errorf("pods of a node that is back were swept: %+v", r)
				}
			})
			if p := b.now(t); p.Status != api.PodRunning {
				t.Errorf("the pod is %s", p.Status)
			}
		})
	}
}

// A heartbeat does not wait for a sweep, whatever that one waits for: it is stored with
// those of all other nodes of its server.
func TestAHeartbeatDoesNotWaitForASweep(t *testing.T) {
	t.Parallel()
	for _, status := range []api.NodeStatus{api.NodeOnline, api.NodeSuspect} {
		t.Run(string(status), func(t *testing.T) {
			t.Parallel()
			heartbeatInASweep(t, status)
		})
	}
}

func heartbeatInASweep(t *testing.T, status api.NodeStatus) {
	t.Helper()
	b := newBound(t)
	b.exec(t, "update public.nodes set status = $1::text::public.node_status", status)
	session := value[string](t, b.world, "select session from stark.node_leases")
	pods := b.meanwhile(t, "40 seconds", holdsPods)
	beat := func() []string {
		return must(b.RenewLeases(t.Context(), []string{b.node.ID}, []string{session}))(t)
	}
	b.lead(t, func(ctx context.Context) {
		swept := b.sweeps(ctx, t)
		b.awaitRow(t)
		if lost := beat(); len(lost) > 0 {
			t.Errorf("before the sweep has ended the node is told that it is lost: %q", lost)
		}
		if err := pods.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
		if r := <-swept; len(r.Unhealthy) != 1 || len(r.PodsUnknown) > 0 {
			t.Errorf("got %+v", r)
		}
	})
	// It was silent when it was judged: the next heartbeat brings it back.
	if lost := beat(); len(lost) != 1 {
		t.Errorf("the node is not told that it must register again: %q", lost)
	}
	if n := must(b.GetNode(t.Context(), b.owner, b.node.ID))(t); n.Status != api.NodeOnline {
		t.Errorf("the node is %s", n.Status)
	}
}
