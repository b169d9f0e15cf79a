package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// running makes the bound pod run.
func (b *bound) running(t *testing.T) {
	t.Helper()
	if n, refused := b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunRunning, Ready: true}); n != 1 {
		t.Fatalf("refused: %v", refused)
	}
}

// past makes what was written to a pod older than it is.
func (b *bound) past(t *testing.T, set string) {
	t.Helper()
	b.exec(t, "alter table public.pods disable trigger user")
	b.exec(t, "update public.pods set "+set+" where id = $1", b.pod.ID)
	b.exec(t, "alter table public.pods enable trigger user")
}

// tellOverdue is a round of the leader that thinks the bound pod late.
func (b *bound) tellOverdue(t *testing.T) (told []string) {
	t.Helper()
	b.lead(t, func(ctx context.Context) { told = must(b.TellOverdueStops(ctx, []api.Pod{b.now(t)}))(t) })
	return told
}

func TestAStopThatIsOverdueIsSaidOnce(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	b.running(t)
	if told := b.tellOverdue(t); len(told) != 0 {
		t.Errorf("told of %v, which nobody stops", told)
	}
	if _, _, err := b.StopPod(t.Context(), b.owner, b.pod.ID); err != nil {
		t.Fatal(err)
	}
	b.past(t, "stop_requested_at = now() - make_interval(secs => termination_grace_period_seconds + 55)")
	if told := b.tellOverdue(t); len(told) != 0 {
		t.Errorf("told of %v within the margin", told)
	}
	b.past(t, "stop_requested_at = stop_requested_at - interval '6 seconds'")
	if told := b.tellOverdue(t); len(told) != 1 || told[0] != b.pod.ID {
		t.Fatalf("told of %v", told)
	}
	if told := b.tellOverdue(t); len(told) != 0 {
		t.Errorf("told of %v twice", told)
	}
	for range 2 { // the node says again that it stops the pod
		p := b.now(t)
		if p.Status != api.PodStopping || p.Reason != api.ReasonStopOverdue || !strings.Contains(p.StatusMessage, "n1") || !strings.Contains(p.StatusMessage, "force") {
			t.Fatalf("got %s, %s, %q", p.Status, p.Reason, p.StatusMessage)
		}
		b.report(t, b.node.ID, wire.RunReport{RunKey: b.key(1), Status: api.RunStopping})
	}
	h := must(b.PodHistory(t.Context(), b.owner, b.pod.ID, 1, 0))(t)[0]
	if h.Reason != api.ReasonStopOverdue || h.Message == "" || h.NewStatus != api.PodStopping {
		t.Errorf("the history says %+v", h)
	}
	events := must(b.Events(t.Context(), b.owner, api.EventQuery{Kind: api.EventPod, ObjectID: b.pod.ID, Limit: 10}))(t)
	if last := events[len(events)-1]; last.Type != api.EventWarning || last.Reason != api.ReasonStopOverdue {
		t.Errorf("got the event %+v", last)
	}
	w := must(b.Wanted(t.Context(), b.node.ID))(t)
	if len(w) != 1 || w[0].Desire != wire.DesireStop || w[0].StopReason != api.ReasonStopped {
		t.Errorf("the node is told %+v", w)
	}
	b.report(t, b.node.ID, wire.RunReport{
		RunKey: b.key(1), Status: api.RunExited, Final: true, Termination: &api.Termination{Reason: api.ReasonStopped},
	})
	if p := b.now(t); p.Status != api.PodStopped || p.Reason != api.ReasonStopped {
		t.Errorf("in the end it is %s, %s", p.Status, p.Reason)
	}
}

func TestAnEvictionThatIsOverdueStaysOne(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	b.running(t)
	b.evict(t, api.Eviction{Reason: api.ReasonPreempted, Message: "for another", GraceSeconds: new(100)}, b.pod)
	b.past(t, `eviction = eviction || jsonb_build_object('since', now() - interval '150 seconds')`)
	if told := b.tellOverdue(t); len(told) != 0 {
		t.Errorf("told of %v within its own grace", told)
	}
	b.past(t, `eviction = eviction || jsonb_build_object('since', now() - interval '161 seconds')`)
	if told := b.tellOverdue(t); len(told) != 1 {
		t.Fatalf("told of %v", told)
	}
	if w := must(b.Wanted(t.Context(), b.node.ID))(t); len(w) != 1 || w[0].StopReason != api.ReasonPreempted {
		t.Errorf("the node is told %+v", w)
	}
	b.report(t, b.node.ID, wire.RunReport{
		RunKey: b.key(1), Status: api.RunExited, Final: true, Termination: &api.Termination{Reason: api.ReasonPreempted},
	})
	if p := b.now(t); p.Status != api.PodPending || p.Incarnation != 2 || p.Reason != api.ReasonPreempted {
		t.Errorf("in the end it is %+v", p)
	}
}

func TestADeposedLeaderTellsOfNoStop(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	b.running(t)
	if _, _, err := b.StopPod(t.Context(), b.owner, b.pod.ID); err != nil {
		t.Fatal(err)
	}
	b.past(t, "stop_requested_at = now() - interval '1 hour'")
	b.lead(t, func(ctx context.Context) {
		b.exec(t, "update stark.leader_lease set epoch = epoch + 1000")
		_, err := b.TellOverdueStops(ctx, []api.Pod{b.now(t)})
		wantCode(t, err, fault.Stale)
	})
	if p := b.now(t); p.Reason == api.ReasonStopOverdue {
		t.Error("it was said all the same")
	}
}

func TestAPodIsStoppedByForce(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	b.running(t)
	member := b.user(t, api.RoleDeveloper)
	b.exec(t, "insert into public.namespace_members (namespace, user_id, role) values ('default', $1, 'developer')", member.UserID)
	_, _, err := b.ForceStopPod(t.Context(), member, b.pod.ID)
	wantCode(t, err, fault.Forbidden)
	_, _, err = b.ForceStopPod(t.Context(), b.user(t, api.RoleDeveloper), api.NewID())
	wantCode(t, err, fault.NotFound)
	if p := b.now(t); p.Status != api.PodRunning || p.StopRequestedAt != nil {
		t.Fatalf("who may not has changed it: %+v", p)
	}

	p, purged, err := b.ForceStopPod(t.Context(), b.owner, b.pod.ID)
	if err != nil || purged || p.Status != api.PodStopped || p.Reason != api.ReasonStopForced || p.StatusMessage == "" || p.StoppedAt == nil ||
		p.Incarnation != 1 || p.LastTermination == nil || p.LastTermination.Reason != api.ReasonStopForced {
		t.Fatalf("got %+v, %t, %v", p, purged, err)
	}
	runs := must(b.PodRuns(t.Context(), b.owner, b.pod.ID))(t)
	if len(runs) != 1 || runs[0].Status != api.RunLost || runs[0].FinishedAt == nil {
		t.Errorf("got %+v", runs)
	}
	if w := must(b.Wanted(t.Context(), b.node.ID))(t); len(w) != 0 {
		t.Errorf("the node is told %+v", w)
	}
	if used := value[int](t, b.world, "select (resource_usage ->> 'pods')::int from public.namespaces where name = 'default'"); used != 0 {
		t.Errorf("the quota counts %d pods", used)
	}
	h := must(b.PodHistory(t.Context(), b.owner, b.pod.ID, 1, 0))(t)[0]
	if h.Action != api.ActionStopped || h.ActorID != b.owner.UserID || h.Reason != api.ReasonStopForced {
		t.Errorf("the history says %+v", h)
	}
	// What its node says from now on brings nothing back.
	for _, r := range []wire.RunReport{
		{RunKey: b.key(1), Status: api.RunRunning, Ready: true},
		{RunKey: b.key(2), Status: api.RunStarting},
		{RunKey: b.key(1), Status: api.RunExited, Final: true, Termination: &api.Termination{Reason: api.ReasonError}},
	} {
		if n, refused := b.report(t, b.node.ID, r); n != 0 || refused[0].Code != string(fault.Stale) {
			t.Errorf("%s of attempt %d: %d taken, %v", r.Status, r.Attempt, n, refused)
		}
	}
	if p := b.now(t); p.Status != api.PodStopped || p.Reason != api.ReasonStopForced {
		t.Errorf("in the end it is %s, %s", p.Status, p.Reason)
	}
	if _, purged, err := b.ForceStopPod(t.Context(), b.owner, b.pod.ID); err != nil || !purged {
		t.Errorf("one that has ended: purged %t, %v", purged, err)
	}
}

// An eviction has a pod run on elsewhere when its node has ended it. By force nobody knows
// that, so that it runs nowhere.
func TestAnEvictedPodThatIsStoppedByForceRunsNowhere(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	b.running(t)
	b.evict(t, api.Eviction{Reason: api.ReasonEvicted, Message: "the node is drained"}, b.pod)
	if p, _, err := b.ForceStopPod(t.Context(), b.owner, b.pod.ID); err != nil || p.Status != api.PodStopped || p.Incarnation != 1 {
		t.Errorf("got %+v, %v", p, err)
	}
	waiting := b.world.pod(t, b.owner, b.pod.PackID)
	if p, purged, err := b.ForceStopPod(t.Context(), b.owner, waiting.ID); err != nil || purged || p.Status != api.PodStopped || p.Reason != api.ReasonStopped {
		t.Errorf("one without a node: got %+v, %v", p, err)
	}
}
