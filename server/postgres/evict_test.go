package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func (b *bound) evict(t *testing.T, o api.Eviction, pods ...api.Pod) []string {
	t.Helper()
	var told []string
	b.lead(t, func(ctx context.Context) {
		var orders []postgres.Eviction
		for _, p := range pods {
			orders = append(orders, postgres.Eviction{PodID: p.ID, Incarnation: p.Incarnation, Order: o})
		}
		told = must(b.Evict(ctx, orders))(t)
	})
	return told
}

func TestEvictionFromOrderToTheNextPlace(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true})
	order := api.Eviction{Reason: api.ReasonPreempted, Message: "for a pod of priority 5", By: b.owner.UserID, Preemptor: api.NewID(), GraceSeconds: new(3)}
	if told := b.evict(t, order, b.pod); len(told) != 1 || told[0] != b.pod.ID {
		t.Fatalf("got %v", told)
	}
	if again := b.evict(t, order, b.pod); len(again) != 0 {
		t.Errorf("told twice: %v", again)
	}
	p := b.now(t)
	if p.Status != api.PodStopping || p.Reason != api.ReasonPreempted || p.Eviction == nil || p.Eviction.Since.IsZero() || p.Eviction.Preemptor != order.Preemptor {
		t.Fatalf("got %+v", p)
	}
	w := must(b.Wanted(t.Context(), b.node.ID))(t)
	if len(w) != 1 || w[0].Desire != wire.DesireStop || w[0].StopReason != api.ReasonPreempted || w[0].Pod.GraceSeconds != 3 {
		t.Fatalf("got %+v", w)
	}
	h := must(b.PodHistory(t.Context(), b.owner, p.ID, 1, 0))(t)
	if h[0].Action != api.ActionEvicted || h[0].ActorID != b.owner.UserID || h[0].Reason != api.ReasonPreempted || h[0].Metadata["eviction"] == nil {
		t.Errorf("got %+v", h[0])
	}
	end := wire.RunReport{RunKey: b.key(1), Status: api.RunExited, Final: true, Termination: &api.Termination{Reason: api.ReasonPreempted}}
	for range 2 {
		if n, refused := b.report(t, b.node.ID, end); n != 1 {
			t.Fatalf("refused: %v", refused)
		}
		if p := b.now(t); p.Status != api.PodPending || p.Incarnation != 2 || p.NodeID != nil || p.Eviction != nil || p.Restarts != 0 ||
			p.StartedAt != nil || p.StoppedAt != nil || p.Reason != api.ReasonPreempted {
			t.Fatalf("got %+v", p)
		}
	}
	if used := value[int](t, b.world, "select (resource_usage ->> 'pods')::int from public.namespaces where name = 'default'"); used != 1 {
		t.Errorf("the quota counts %d pods", used)
	}
	if len(must(b.Wanted(t.Context(), b.node.ID))(t)) != 0 {
		t.Error("the old node still wants it")
	}
	b.bind(t, b.now(t), b.node.ID)
	if told := b.evict(t, order, b.pod); len(told) != 0 {
		t.Errorf("an order for an older incarnation was taken: %v", told)
	}
}

func TestWhatBecomesOfAnEvictedPod(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	order := api.Eviction{Reason: api.ReasonEvicted, Message: "the node is drained"}
	for name, c := range map[string]struct {
		policy api.RestartPolicy
		stop   bool
		end    string
		want   api.PodStatus
	}{
		"runs on elsewhere":           {api.RestartAlways, false, api.ReasonEvicted, api.PodPending},
		"failed while it was told":    {api.RestartOnFailure, false, api.ReasonError, api.PodPending},
		"runs once only":              {api.RestartNever, false, api.ReasonEvicted, api.PodEvicted},
		"was done before":             {api.RestartOnFailure, false, api.ReasonCompleted, api.PodSucceeded},
		"had no time left":            {api.RestartOnFailure, false, api.ReasonDeadlineExceeded, api.PodFailed},
		"failed by itself, runs once": {api.RestartNever, false, api.ReasonError, api.PodFailed},
		"is also stopped by its user": {api.RestartAlways, true, api.ReasonEvicted, api.PodStopped},
	} {
		p := must(b.CreatePod(t.Context(), b.owner, api.CreatePodRequest{PackID: b.pod.PackID, RestartPolicy: c.policy}))(t)
		b.bind(t, p, b.node.ID)
		b.evict(t, order, p)
		if c.stop {
			if _, _, err := b.StopPod(t.Context(), b.owner, p.ID); err != nil {
				t.Fatal(err)
			}
		}
		b.report(t, b.node.ID, wire.RunReport{
			RunKey: api.RunKey{PodID: p.ID, Incarnation: 1, Attempt: 1}, Status: api.RunExited, Final: true,
			Termination: &api.Termination{Reason: c.end},
		})
		if got := must(b.GetPod(t.Context(), b.owner, p.ID))(t); got.Status != c.want {
			t.Errorf("%s: got %s (%s), want %s", name, got.Status, got.Reason, c.want)
		}
	}
}

func TestALostNodeEndsEvictions(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	never := must(b.CreatePod(t.Context(), b.owner, api.CreatePodRequest{PackID: b.pod.PackID, RestartPolicy: api.RestartNever}))(t)
	b.bind(t, never, b.node.ID)
	b.evict(t, api.Eviction{Reason: api.ReasonEvicted, Message: "the node is drained"}, b.pod, never)
	b.exec(t, "update stark.node_leases set renewed_at = now() - interval '1 hour'")
	b.lead(t, func(ctx context.Context) {
		ctx = postgres.SinceForTest(time.Now().Add(-time.Hour))(ctx)
		must(b.SweepNodes(ctx))(t)
	})
	if p := b.now(t); p.Status != api.PodPending || p.Incarnation != 2 || p.Eviction != nil {
		t.Errorf("got %+v", p)
	}
	if p := must(b.GetPod(t.Context(), b.owner, never.ID))(t); p.Status != api.PodEvicted || p.Reason != api.ReasonEvicted {
		t.Errorf("got %+v", p)
	}
}

func TestEvictionsAreForTheLeaderAlone(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	order := []postgres.Eviction{{PodID: b.pod.ID, Incarnation: 1, Order: api.Eviction{Reason: api.ReasonEvicted, Message: "x"}}}
	_, err := b.Evict(t.Context(), order)
	wantCode(t, err, fault.Stale)
	b.lead(t, func(ctx context.Context) {
		b.exec(t, "update stark.leader_lease set epoch = nextval('stark.leader_epoch'), holder = 'other', expires_at = now() + interval '1 minute'")
		_, err := b.Evict(ctx, order)
		wantCode(t, err, fault.Stale)
	})
	if p := b.now(t); p.Eviction != nil || p.Status != api.PodScheduled {
		t.Errorf("got %+v", p)
	}
	// Nor for users, who may write their pods directly.
	for _, sql := range []string{
		`update public.pods set eviction = '{"reason":"Evicted"}'`,
		`update public.pods set status = 'pending', incarnation = incarnation + 1`,
	} {
		tx := must(b.conn.Begin(t.Context()))(t)
		if _, err := tx.Exec(t.Context(), "set local role authenticated"); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s: a user may", sql)
		}
		_ = tx.Rollback(t.Context())
	}
}

func TestEvictionsAtOnceCountOnce(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	var mu sync.Mutex
	told := 0
	b.lead(t, func(ctx context.Context) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				got, err := b.Evict(ctx, []postgres.Eviction{{PodID: b.pod.ID, Incarnation: 1, Order: api.Eviction{Reason: api.ReasonEvicted, Message: "x"}}})
				mu.Lock()
				defer mu.Unlock()
				if told += len(got); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	if n := value[int](t, b.world, "select count(*)::int from public.pod_history where action = 'evicted'"); n != 1 {
		t.Errorf("the history has %d evictions", n)
	}
}
