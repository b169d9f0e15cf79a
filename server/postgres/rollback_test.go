package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// stage is a pod of version 2.0.0 that runs on a node, and version 1.0.0 beside it.
type stage struct {
	*world
	tb       testing.TB
	dev      access.Identity
	old, new api.Pack
	pod      api.Pod
	node     string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	w := newWorld(t)
	s := &stage{world: w, tb: t, dev: w.user(t, api.RoleDeveloper, api.RoleOperator)}
	s.old, s.new = w.pack(t, s.dev, "app", "1.0.0"), w.pack(t, s.dev, "app", "2.0.0")
	s.node = w.node(t, s.dev, "n1").Node.ID
	s.pod = w.pod(t, s.dev, s.new.ID)
	w.bind(t, s.pod, s.node)
	s.report(1, api.RunRunning, nil)
	return s
}

func (s *stage) report(incarnation int, status api.RunStatus, change func(*wire.RunReport)) {
	s.tb.Helper()
	r := wire.RunReport{
		RunKey: api.RunKey{PodID: s.pod.ID, Incarnation: incarnation, Attempt: 1},
		Status: status, Ready: status == api.RunRunning, At: time.Now(),
	}
	if change != nil {
		change(&r)
	}
	_, refused, err := s.ReportRuns(s.tb.Context(), s.node, []wire.RunReport{r})
	if err != nil || len(refused) > 0 {
		s.tb.Fatalf("report %+v: %v, refused %v", r.RunKey, err, refused)
	}
}

func (s *stage) now() api.Pod {
	s.tb.Helper()
	return must(s.GetPod(s.tb.Context(), s.dev, s.pod.ID))(s.tb)
}

// wants lists "<incarnation> <version> <desire>" of what the node should run.
func (s *stage) wants() string {
	s.tb.Helper()
	var out []string
	for _, a := range must(s.Wanted(s.tb.Context(), s.node))(s.tb) {
		out = append(out, strings.Join([]string{string(rune('0' + a.Incarnation)), a.Pod.PackVersion, string(a.Desire)}, " "))
	}
	return strings.Join(out, ", ")
}

func (s *stage) wanted(want string) {
	s.tb.Helper()
	if got := s.wants(); got != want {
		s.tb.Errorf("the node should run %q, want %q", got, want)
	}
}

func (s *stage) rollback(r api.RollbackRequest) api.Rollback {
	s.tb.Helper()
	return must(s.RollbackPod(s.tb.Context(), s.dev, s.pod.ID, r))(s.tb)
}

func exited(reason string) func(*wire.RunReport) {
	return func(r *wire.RunReport) {
		r.Reason, r.Termination = reason, &api.Termination{Reason: reason, Message: "boom"}
	}
}

// The next version runs beside the present one and takes its place when it is ready.
func TestRollbackReplacesWhenReady(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	out := s.rollback(api.RollbackRequest{TargetVersion: "1.0.0", Reason: "too slow"})
	if out.PreviousVersion != "2.0.0" || out.NewVersion != "1.0.0" || out.PackID != s.old.ID || out.Pod.Rollout == nil || out.Pod.Status != api.PodRunning {
		t.Fatalf("got %+v", out)
	}
	s.wanted("1 2.0.0 run, 2 1.0.0 run")
	k, err := s.BundleFor(t.Context(), s.node, s.pod.ID, 2)
	if err != nil || k.ID != s.old.ID {
		t.Errorf("the bundle of the next incarnation: %+v, %v", k, err)
	}
	s.report(2, api.RunStarting, nil)
	if p := s.now(); p.PackVersion != "2.0.0" || p.Status != api.PodRunning || p.Incarnation != 1 {
		t.Errorf("before it is ready the pod is %s %s", p.PackVersion, p.Status)
	}
	s.report(2, api.RunRunning, nil)
	p := s.now()
	if p.PackVersion != "1.0.0" || p.PackID != s.old.ID || p.Status != api.PodRunning || p.Incarnation != 2 || p.Rollout != nil {
		t.Errorf("when it is ready the pod is %+v", p)
	}
	s.wanted("2 1.0.0 run")
	s.report(1, api.RunExited, exited(api.ReasonStopped)) // the old one says goodbye
	if p := s.now(); p.Status != api.PodRunning || p.Incarnation != 2 {
		t.Errorf("the end of the old version made the pod %s", p.Status)
	}
	h := must(s.PodHistory(t.Context(), s.dev, s.pod.ID, 10, 0))(t)
	if e := h[0]; e.Action != api.ActionRolledBack || e.PreviousVersion != "2.0.0" || e.NewVersion != "1.0.0" || e.ActorID != s.dev.UserID || e.Reason != "too slow" {
		t.Errorf("the history begins with %+v", e)
	}
	// The way back needs no version: it is the last one that ran well.
	if out := s.rollback(api.RollbackRequest{}); out.NewVersion != "2.0.0" || out.Pod.Rollout.Incarnation != 3 {
		t.Errorf("the default target is %+v", out)
	}
}

// A version that fails leaves the present one as it is, and says why.
func TestRollbackThatFails(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
	s.report(2, api.RunExited, exited(api.ReasonPackLoadError))
	p := s.now()
	if p.Status != api.PodRunning || p.PackVersion != "2.0.0" || p.Incarnation != 1 || p.Rollout != nil || p.Reason != api.ReasonRollbackFailed ||
		!strings.Contains(p.StatusMessage, "1.0.0") || !strings.Contains(p.StatusMessage, "boom") {
		t.Errorf("the pod is %+v", p)
	}
	s.wanted("1 2.0.0 run")
	// News of it that come late change nothing.
	_, refused, err := s.ReportRuns(t.Context(), s.node, []wire.RunReport{{RunKey: api.RunKey{PodID: s.pod.ID, Incarnation: 2, Attempt: 2}, Status: api.RunRunning, Ready: true, At: time.Now()}})
	if err != nil || len(refused) != 1 {
		t.Errorf("a late report: %v, refused %v", err, refused)
	}
	// A node that connects anew tells again what it runs: that is no news of the pod either.
	before := s.now()
	s.report(1, api.RunRunning, nil)
	s.report(2, api.RunExited, exited(api.ReasonPackLoadError))
	if p := s.now(); p.Reason != before.Reason || p.StatusMessage != before.StatusMessage || p.ResourceVersion != before.ResourceVersion {
		t.Errorf("told again, the pod is %+v, want %+v", p, before)
	}
	// One that is never ready is given up. No incarnation is used twice.
	if out := s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"}); out.Pod.Rollout.Incarnation != 3 || out.Pod.Reason != "" {
		t.Errorf("the next try is %+v", out.Pod)
	}
	s.exec(t, "update public.pods set next_since = now() - interval '11 minutes' where id = $1", s.pod.ID)
	s.lead(t, func(ctx context.Context) {
		if r := must(s.SweepNodes(ctx))(t); len(r.RolloutsEnded) != 1 {
			t.Errorf("the sweep gave %+v", r)
		}
	})
	if p := s.now(); p.Rollout != nil || p.Reason != api.ReasonRollbackFailed || !strings.Contains(p.StatusMessage, "not ready within 10m") {
		t.Errorf("the pod is %+v", p)
	}
}

// What else happens to the pod ends its replacement, and no incarnation is used twice.
func TestRollbackMeetsOtherChanges(t *testing.T) {
	t.Parallel()
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
		if _, _, err := s.StopPod(t.Context(), s.dev, s.pod.ID); err != nil {
			t.Fatal(err)
		}
		s.wanted("1 2.0.0 stop")
		if p := s.now(); p.Rollout != nil {
			t.Errorf("the replacement goes on: %+v", p.Rollout)
		}
		_, err := s.RollbackPod(t.Context(), s.dev, s.pod.ID, api.RollbackRequest{TargetVersion: "1.0.0"})
		wantCode(t, err, fault.InvalidState)
	})
	t.Run("lost node", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
		s.report(2, api.RunStarting, nil)
		s.exec(t, "update public.pods set status = 'pending', incarnation = incarnation + 1, node_id = null where id = $1", s.pod.ID)
		if p := s.now(); p.Incarnation != 3 || p.Rollout != nil || p.PackVersion != "2.0.0" {
			t.Errorf("the pod goes on as %+v", p)
		}
	})
	t.Run("now", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
		out := s.rollback(api.RollbackRequest{TargetVersion: "1.0.0", Now: true})
		if p := out.Pod; p.Status != api.PodPending || p.PackVersion != "1.0.0" || p.Incarnation != 3 || p.Rollout != nil {
			t.Errorf("the pod is %+v", p)
		}
		s.wanted("")
	})
	t.Run("the way back", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
		if out := s.rollback(api.RollbackRequest{TargetVersion: "2.0.0"}); out.Pod.Rollout != nil {
			t.Errorf("the pod is %+v", out.Pod)
		}
		s.wanted("1 2.0.0 run")
	})
	t.Run("another target", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		third := s.pack(t, s.dev, "app", "3.0.0")
		s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
		s.rollback(api.RollbackRequest{TargetVersion: third.Version})
		s.wanted("1 2.0.0 run, 3 3.0.0 run")
	})
	t.Run("pending", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		p := s.world.pod(t, s.dev, s.new.ID)
		out := must(s.RollbackPod(t.Context(), s.dev, p.ID, api.RollbackRequest{TargetVersion: "1.0.0"}))(t)
		if out.Pod.Status != api.PodPending || out.Pod.PackVersion != "1.0.0" || out.Pod.Incarnation != 2 {
			t.Errorf("the pod is %+v", out.Pod)
		}
	})
}

func TestRollbackRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	stranger, viewer := s.user(t, api.RoleDeveloper), s.user(t)
	s.pack(t, stranger, "other", "1.0.0")
	for name, c := range map[string]struct {
		who  access.Identity
		pod  string
		to   string
		want fault.Code
	}{
		"same version":            {s.dev, s.pod.ID, "2.0.0", fault.SameVersion},
		"no such version":         {s.dev, s.pod.ID, "9.9.9", fault.VersionNotFound},
		"no version that ran":     {s.dev, s.pod.ID, "", fault.VersionNotFound},
		"no such pod":             {s.dev, api.NewID(), "1.0.0", fault.NotFound},
		"another's pod":           {stranger, s.pod.ID, "1.0.0", fault.NotFound},
		"a viewer, another's pod": {viewer, s.pod.ID, "1.0.0", fault.NotFound},
	} {
		_, err := s.RollbackPod(t.Context(), c.who, c.pod, api.RollbackRequest{TargetVersion: c.to})
		if got := fault.CodeOf(err); got != c.want {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, c.want)
		}
	}
	s.wanted("1 2.0.0 run")
	// Who sees a pod because they are in its namespace may not change it for that.
	s.exec(t, "insert into public.namespaces (name) values ('team')")
	s.exec(t, "insert into public.namespace_members (namespace, user_id, role) values ('team', $1, 'viewer')", viewer.UserID)
	shared := must(s.CreatePod(t.Context(), s.dev, api.CreatePodRequest{PackID: s.new.ID, Namespace: "team"}))(t)
	_, err := s.RollbackPod(t.Context(), viewer, shared.ID, api.RollbackRequest{TargetVersion: "1.0.0"})
	wantCode(t, err, fault.Forbidden)
	// Nobody writes the columns themselves.
	for _, sql := range []string{
		"update public.pods set next_pack_id = '" + s.old.ID + "'", "update public.pods set pack_id = '" + s.old.ID + "'",
		"update public.pods set used_incarnation = 1", "update public.pods set next_incarnation = 1",
	} {
		tx := must(s.conn.Begin(t.Context()))(t)
		if _, err := tx.Exec(t.Context(), "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)", `{"sub":"`+stranger.UserID+`","role":"authenticated"}`); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), sql); err == nil {
			t.Errorf("a stranger may: %s", sql)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// The end of a next version that was given up because its pod has ended is still known:
// else its run would be open for ever.
func TestARunOfAVersionThatWasGivenUpEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
	s.report(2, api.RunStarting, nil)
	if _, _, err := s.StopPod(t.Context(), s.dev, s.pod.ID); err != nil {
		t.Fatal(err)
	}
	s.report(1, api.RunExited, func(r *wire.RunReport) { exited(api.ReasonStopped)(r); r.Final = true })
	s.report(2, api.RunExited, exited(api.ReasonStopped))
	p := s.now()
	if p.Status != api.PodStopped || p.Incarnation != 1 || p.Rollout != nil {
		t.Errorf("the pod is %+v", p)
	}
	if n := value[int](t, s.world, "select count(*)::int from public.pod_runs where status not in ('exited', 'lost')"); n != 0 {
		t.Errorf("%d runs are open", n)
	}
}
