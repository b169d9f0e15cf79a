package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestPodsOfTwoUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, bob, viewer := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper), w.user(t, api.RoleViewer)
	k := w.pack(t, ann, "hello", "1.0.0")
	w.pack(t, ann, "hello", "1.2.0")
	p := must(w.CreatePod(ctx, ann, api.CreatePodRequest{
		PackName: "hello", Labels: map[string]string{"app": "x"}, Env: map[string]string{"A": "1"},
		ResourceRequests: &api.ResourceInput{CPU: new(api.Millicores(50))}, Metadata: map[string]any{"k": "v"},
		Tolerations: []api.Toleration{{Key: "gpu", Operator: api.TolerationExists}}, ActiveDeadlineSeconds: new(60),
		Scheduling: &api.Scheduling{NodeName: "n1"}, TerminationGracePeriodSeconds: new(0),
	}))(t)
	if p.Status != api.PodPending || p.PackVersion != "1.2.0" || p.Namespace != "default" || p.ResourceRequests.CPU != 50 ||
		p.ResourceLimits.CPU == 0 || p.CreatedBy != ann.UserID || p.Scheduling.NodeName != "n1" || *p.ActiveDeadlineSeconds != 60 ||
		p.TerminationGracePeriodSeconds != 0 || p.Env["A"] != "1" || p.Incarnation != 1 || p.RestartPolicy != api.RestartOnFailure {
		t.Errorf("got %+v", p)
	}
	_, err := w.CreatePod(ctx, bob, api.CreatePodRequest{PackID: k.ID})
	wantCode(t, err, fault.NotFound)
	_, err = w.CreatePod(ctx, viewer, api.CreatePodRequest{PackID: k.ID})
	if c := fault.CodeOf(err); c != fault.Forbidden && c != fault.NotFound {
		t.Errorf("a viewer got %v", err)
	}
	_, err = w.CreatePod(ctx, ann, api.CreatePodRequest{PackID: k.ID, Namespace: "nowhere"})
	wantCode(t, err, fault.NotFound)
	_, err = w.CreatePod(ctx, ann, api.CreatePodRequest{PackID: k.ID, PriorityClassName: "none"})
	wantCode(t, err, fault.Validation)
	if f, ok := err.(*fault.Error); !ok || f.Details["priorityClassName"] == nil { //nolint:errorlint // DB gives the fault itself
		t.Errorf("got details of %v", err)
	}
	_, err = w.GetPod(ctx, bob, p.ID)
	wantCode(t, err, fault.NotFound)
	_, _, err = w.StopPod(ctx, bob, p.ID)
	wantCode(t, err, fault.NotFound)
	_, err = w.PodHistory(ctx, bob, p.ID, 0, 0)
	wantCode(t, err, fault.NotFound)
	_, err = w.PodRuns(ctx, bob, p.ID)
	wantCode(t, err, fault.NotFound)
	_, err = w.Verdict(ctx, bob, p.ID)
	wantCode(t, err, fault.NotFound)
	if v, err := w.Verdict(ctx, ann, p.ID); v != nil || err != nil {
		t.Errorf("got verdict %v, %v", v, err)
	}

	// A member of the namespace sees the pod and may not stop it.
	w.exec(t, "insert into public.namespace_members (namespace, user_id, role) values ('default', $1, 'viewer')", bob.UserID)
	if got := must(w.GetPod(ctx, bob, p.ID))(t); got.ID != p.ID {
		t.Errorf("got %+v", got)
	}
	_, _, err = w.StopPod(ctx, bob, p.ID)
	wantCode(t, err, fault.Forbidden)

	stopped, purged, err := w.StopPod(ctx, ann, p.ID)
	if err != nil || purged || stopped.Status != api.PodStopped {
		t.Errorf("got %v, %v, %v", stopped.Status, purged, err)
	}
	_, _, err = w.StopPod(ctx, bob, p.ID) // no more once it has ended
	wantCode(t, err, fault.Forbidden)
	_, purged, err = w.StopPod(ctx, ann, p.ID)
	if err != nil || !purged {
		t.Errorf("got %v, %v", purged, err)
	}
	history := must(w.PodHistory(ctx, ann, p.ID, 2, 0))(t)
	if len(history) != 2 || history[0].Action != api.ActionDeleted || history[1].Action != api.ActionStopped || history[1].ActorID != ann.UserID {
		t.Errorf("got %+v", history)
	}
}

// Two stops of one pod meet: the second finds it alive, waits for the first, and then
// it has ended. That is what was asked for, and nothing is purged by it.
func TestAPodEndsWhileItsStopWaitsForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	p := w.pod(t, ann, w.pack(t, ann, "hello", "1.0.0").ID)
	first := w.holding(t, "update public.pods set stop_requested_at = now() where id = $1", p.ID)
	second := make(chan error, 1)
	var stopped api.Pod
	var purged bool
	go func() {
		var err error
		stopped, purged, err = w.StopPod(t.Context(), ann, p.ID)
		second <- err
	}()
	for !value[bool](t, w, "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')") {
		if t.Context().Err() != nil {
			t.Fatal("nobody waits")
		}
	}
	if err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil || purged || stopped.Status != api.PodStopped {
		t.Errorf("got %s, purged %t, %v", stopped.Status, purged, err)
	}
}

func TestPodLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	for i := range 5 {
		must(w.CreatePod(ctx, ann, api.CreatePodRequest{PackID: k.ID, Labels: map[string]string{"app": "web", "n": fmt.Sprint(i)}}))(t)
	}
	must(w.CreatePod(ctx, ann, api.CreatePodRequest{PackID: k.ID}))(t)
	for _, c := range []struct {
		q    api.PodQuery
		want int
	}{
		{api.PodQuery{}, 6},
		{api.PodQuery{Namespace: "default", PackID: k.ID, PackName: "hello", Status: api.PodPending}, 6},
		{api.PodQuery{NodeID: api.NewID()}, 0},
		{api.PodQuery{Status: api.PodRunning}, 0},
		{api.PodQuery{LabelSelector: "app=web"}, 5},
		{api.PodQuery{LabelSelector: "app!=web"}, 1},
		{api.PodQuery{LabelSelector: "n in (1,2)"}, 2},
		{api.PodQuery{LabelSelector: "n notin (1,2)"}, 4},
		{api.PodQuery{LabelSelector: "app,!gone"}, 5},
		{api.PodQuery{LabelSelector: "n>3"}, 1},
		{api.PodQuery{LabelSelector: "n<1"}, 1},
	} {
		page, err := w.ListPods(ctx, ann, c.q)
		if err != nil || page.Total != c.want || len(page.Items) != c.want {
			t.Errorf("%+v: got %d of %d, %v; want %d", c.q, len(page.Items), page.Total, err, c.want)
		}
	}
	_, err := w.ListPods(ctx, ann, api.PodQuery{LabelSelector: "=="})
	wantCode(t, err, fault.Validation)
}

func TestQuotaHoldsUnderParallelCreates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	w.exec(t, `update public.namespaces set resource_quota = '{"hard":{"pods":20}}' where name = 'default'`)
	var made, refused, missing atomic.Int32
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			id := k.ID
			if i%10 == 0 {
				id = api.NewID() // a refused row never fails its neighbours
			}
			_, err := w.CreatePod(t.Context(), ann, api.CreatePodRequest{PackID: id})
			switch fault.CodeOf(err) {
			case "":
				made.Add(1)
			case fault.QuotaExceeded:
				refused.Add(1)
			case fault.NotFound:
				missing.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 20 || missing.Load() != 5 || refused.Load() != 25 {
		t.Errorf("%d made, %d over quota, %d without pack; want 20, 25, 5", made.Load(), refused.Load(), missing.Load())
	}
	if got := value[int](t, w, "select (resource_usage ->> 'pods')::int from public.namespaces where name = 'default'"); got != 20 {
		t.Errorf("usage is %d", got)
	}
}

func TestACallerWhoGivesUpFailsNobodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := w.CreatePod(ctx, ann, api.CreatePodRequest{PackID: k.ID})
			if err != nil {
				wantCode(t, err, fault.Timeout)
			}
		})
		wg.Go(func() {
			if _, err := w.CreatePod(t.Context(), ann, api.CreatePodRequest{PackID: k.ID}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
