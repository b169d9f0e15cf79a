package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func TestOneLeadsAndASuccessorFollowsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := open(t, postgres.Config{URL: w.at.URL})
	feed(t, second) // hears of the resignation
	first, cancel := context.WithCancel(t.Context())
	leading, taken, done := make(chan int64, 1), make(chan int64, 1), make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Lead(first, func(ctx context.Context) error {
			leading <- w.Epoch(ctx)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	epoch := <-leading
	follower, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- second.Lead(follower, func(ctx context.Context) error {
			taken <- second.Epoch(ctx)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	if !w.IsLeader() || second.IsLeader() {
		t.Error("want the first alone to lead")
	}
	ends := value[time.Time](t, w, "select expires_at from stark.leader_lease")
	cancel()
	<-done
	select {
	case next := <-taken:
		if next <= epoch {
			t.Errorf("epoch %d follows %d", next, epoch)
		}
		if !value[bool](t, w, "select clock_timestamp() < $1", ends) {
			t.Error("the lease was waited for")
		}
	case <-time.After(patience):
		t.Fatal("nobody follows")
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if second.IsLeader() || second.Epoch(t.Context()) != 0 {
		t.Error("still leads")
	}
}

func TestADeposedLeaderWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	p := b.world.pod(t, b.owner, b.pod.PackID)
	b.lead(t, func(ctx context.Context) {
		// Another takes over while this one is frozen.
		b.exec(t, "update stark.leader_lease set epoch = nextval('stark.leader_epoch'), holder = 'other', expires_at = now() + interval '1 minute'")
		_, err := b.Bind(ctx, []scheduler.Decision{{PodID: p.ID, Incarnation: 1, NodeID: b.node.ID}})
		wantCode(t, err, fault.Stale)
		_, err = b.SweepNodes(ctx)
		wantCode(t, err, fault.Stale)
		_, err = b.Compact(ctx)
		wantCode(t, err, fault.Stale)
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			t.Error("the context of a deposed leader lives on")
		}
	})
	if got := must(b.GetPod(t.Context(), b.owner, p.ID))(t).Status; got != api.PodPending {
		t.Errorf("got %s", got)
	}
	_, err := b.SweepNodes(t.Context())
	wantCode(t, err, fault.Stale)
	_, err = b.Compact(t.Context())
	wantCode(t, err, fault.Stale)
}

func TestATakeoverWaitsForTheWritesOfTheOldLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lead(t, func(context.Context) {})
	conn := connect(t, w.at.Superuser)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select 1 from stark.leader_lease for key share"); err != nil {
		t.Fatal(err)
	}
	won := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = w.Lead(ctx, func(context.Context) error { close(won); cancel(); return nil })
	})
	select {
	case <-won:
		t.Error("the lease changed hands under a write of the old leader")
	case <-time.After(300 * time.Millisecond):
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-won:
	case <-time.After(patience):
		t.Error("never led")
	}
	wg.Wait()
}

func TestSweepGivesUpSilentNodesOnce(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	ctx := t.Context()
	never := must(b.CreatePod(ctx, b.owner, api.CreatePodRequest{PackID: b.pod.PackID, RestartPolicy: api.RestartNever}))(t)
	stopping := b.world.pod(t, b.owner, b.pod.PackID)
	b.bind(t, never, b.node.ID)
	b.bind(t, stopping, b.node.ID)
	b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true})
	if _, _, err := b.StopPod(ctx, b.owner, stopping.ID); err != nil {
		t.Fatal(err)
	}
	sweep := func(ctx context.Context) postgres.SweepResult {
		t.Helper()
		return must(b.SweepNodes(ctx))(t)
	}
	b.lead(t, func(ctx context.Context) {
		if r := sweep(ctx); r.Changed() {
			t.Errorf("a live node was swept: %+v", r)
		}
		// A new leader gives nodes time, whatever their leases say.
		b.exec(t, "update stark.node_leases set renewed_at = now() - interval '40 seconds'")
		if r := sweep(ctx); !slices.Equal(r.Suspect, []string{b.node.ID}) || len(r.PodsUnknown) > 0 {
			t.Errorf("got %+v", r)
		}
	})
	old := postgres.SinceForTest(time.Now().Add(-time.Hour))
	err := b.StoreHealth(ctx, []postgres.NodeHealth{{NodeID: b.node.ID, Session: "n1", Usage: &api.NodeUsage{
		Pods: []api.PodUsage{{PodID: b.pod.ID, Incarnation: 2, Memory: new(api.Mebibytes(1))}, {PodID: b.pod.ID, Incarnation: 1, Memory: new(api.Mebibytes(77)), LoopDelayMS: 9}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	b.lead(t, func(ctx context.Context) {
		if r := sweep(old(ctx)); !slices.Equal(r.Unhealthy, []string{b.node.ID}) || len(r.PodsUnknown) != 3 {
			t.Errorf("got %+v", r)
		}
		// News of a run brings its pod back while the node is not given up.
		b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true})
		if got := b.now(t).Status; got != api.PodRunning {
			t.Errorf("got %s", got)
		}
		b.exec(t, "update stark.node_leases set renewed_at = now() - interval '100 seconds'")
		var wg sync.WaitGroup
		results := make([]postgres.SweepResult, 2)
		for i := range results {
			wg.Go(func() { results[i], _ = b.SweepNodes(old(ctx)) })
		}
		wg.Wait()
		moved := slices.Concat(results[0].PodsMoved, results[1].PodsMoved)
		ended := slices.Concat(results[0].PodsEnded, results[1].PodsEnded)
		if !slices.Equal(moved, []string{b.pod.ID}) || len(ended) != 2 || results[0].RunsLost+results[1].RunsLost != 1 {
			t.Errorf("got %+v", results)
		}
	})
	p := b.now(t)
	if p.Status != api.PodPending || p.Incarnation != 2 || p.NodeID != nil || p.Reason != api.ReasonNodeLost {
		t.Errorf("got %+v", p)
	}
	// Its last run has a record, with what the node has told of it last.
	runs := must(b.PodRuns(ctx, b.owner, b.pod.ID))(t)
	for what, end := range map[string]*api.Termination{"run": runs[0].Termination, "pod": p.LastTermination} {
		if end == nil || end.Reason != api.ReasonNodeLost || end.Message == "" || end.Attempt != 1 || end.FinishedAt.IsZero() ||
			end.Usage != (api.Usage{MemoryMiB: 77, LoopDelayMS: 9}) {
			t.Errorf("the record of the %s is %+v", what, end)
		}
	}
	if got := must(b.GetPod(ctx, b.owner, never.ID))(t); got.Status != api.PodFailed || got.Reason != api.ReasonNodeLost {
		t.Errorf("got %+v", got)
	}
	if got := must(b.GetPod(ctx, b.owner, stopping.ID))(t); got.Status != api.PodStopped {
		t.Errorf("got %+v", got)
	}
	if n := must(b.GetNode(ctx, b.owner, b.node.ID))(t); n.Status != api.NodeOffline {
		t.Errorf("got %+v", n)
	}
	// The lost run cannot speak any more, and the node may come back.
	if n, _ := b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunExited, Final: true}); n != 0 {
		t.Error("a lost run has reported")
	}
	if _, err := b.RenewLeases(ctx, []string{b.node.ID}, []string{"n1"}); err != nil {
		t.Fatal(err)
	}
	if n := must(b.GetNode(ctx, b.owner, b.node.ID))(t); n.Status != api.NodeOnline {
		t.Errorf("got %+v", n)
	}
}

func TestPodsOfANodeThatLeftMoveOn(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	if err := b.SetNodeStatus(t.Context(), b.node.ID, "n1", api.NodeOffline); err != nil {
		t.Fatal(err)
	}
	b.lead(t, func(ctx context.Context) {
		if r := must(b.SweepNodes(ctx))(t); !slices.Equal(r.PodsMoved, []string{b.pod.ID}) {
			t.Errorf("got %+v", r)
		}
	})
}

func TestCompact(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	gone := b.world.pod(t, b.owner, b.pod.PackID)
	if _, _, err := b.StopPod(t.Context(), b.owner, gone.ID); err != nil {
		t.Fatal(err)
	}
	must(b.CreateJoinToken(t.Context(), b.owner, api.CreateJoinTokenRequest{}))(t)
	b.exec(t, "update stark.change_log set at = now() - interval '11 minutes'")
	b.exec(t, "update stark.join_tokens set expires_at = now() - interval '8 days'")
	b.exec(t, "update public.cluster_config set terminal_pod_retention_ms = 0")
	const many = 1200 // more than one transaction removes
	b.exec(t, `insert into public.pods (pack_id, pack_name, pack_version, created_by, status)
		select $1, '', '', $2, 'stopped' from generate_series(1, $3)`, b.pod.PackID, b.owner.UserID, many)
	for i, age := range []string{"40 days", "1 day"} {
		b.exec(t, `insert into stark.node_credentials (node_id, secret_hash, revoked_at) values ($1, sha256($2::text::bytea), now() - $3::text::interval)`,
			b.node.ID, strconv.Itoa(i), age)
	}
	b.lead(t, func(ctx context.Context) {
		r := must(b.Compact(ctx))(t)
		if r.Changes == 0 || r.Pods != many+1 || r.Tokens != 1 || r.Credentials != 1 {
			t.Errorf("got %+v", r)
		}
	})
	_, err := b.GetPod(t.Context(), b.owner, gone.ID)
	wantCode(t, err, fault.NotFound)
}
