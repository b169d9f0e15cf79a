package pod_test

import (
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func TestMoves(t *testing.T) {
	t.Parallel()
	for _, from := range api.PodStatuses {
		for _, to := range api.PodStatuses {
			if from.Terminal() && pod.CanMove(from, to) {
				t.Errorf("a pod that is %s becomes %s", from, to)
			}
		}
		if pod.CanMove(from, from) {
			t.Errorf("staying %s is a move", from)
		}
		if !from.Terminal() && !pod.CanMove(from, api.PodStopped) {
			t.Errorf("a pod that is %s cannot be stopped", from)
		}
	}
	for _, no := range [][2]api.PodStatus{
		{api.PodPending, api.PodRunning}, {api.PodStopping, api.PodRunning}, {api.PodRunning, api.PodScheduled},
	} {
		if pod.CanMove(no[0], no[1]) {
			t.Errorf("%s becomes %s", no[0], no[1])
		}
	}
}

func TestRunMovesGoForward(t *testing.T) {
	t.Parallel()
	order := []api.RunStatus{api.RunAssigned, api.RunStarting, api.RunRunning, api.RunStopping, api.RunExited, api.RunLost}
	for i, from := range order {
		for j, to := range order {
			want := j > i && !pod.RunEnded(from)
			if got := pod.RunCanMove(from, to); got != want {
				t.Errorf("RunCanMove(%s, %s) = %v, want %v", from, to, got, want)
			}
		}
	}
}

func TestHoldsNodeAndWanted(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, s := range api.PodStatuses {
		if got, want := pod.HoldsNode(s), s != api.PodPending && !s.Terminal(); got != want {
			t.Errorf("HoldsNode(%s) = %v, want %v", s, got, want)
		}
		p := api.Pod{Status: s, NodeID: new("n1")}
		want := s == api.PodScheduled || s == api.PodStarting || s == api.PodRunning || s == api.PodUnknown
		if got := pod.Wanted(p); got != want {
			t.Errorf("Wanted(%s) = %v, want %v", s, got, want)
		}
		if p.StopRequestedAt = &now; pod.Wanted(p) {
			t.Errorf("a pod that is %s and is to stop is wanted", s)
		}
	}
}

func TestNextForReport(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	live := func(s api.PodStatus) api.Pod { return api.Pod{ID: "p", NodeID: new("n1"), Status: s, Incarnation: 2} }
	report := func(s api.RunStatus, change func(*wire.RunReport)) wire.RunReport {
		r := wire.RunReport{RunKey: api.RunKey{PodID: "p", Incarnation: 2, Attempt: 1}, Status: s, At: at}
		if change != nil {
			change(&r)
		}
		return r
	}
	final := func(reason string) func(*wire.RunReport) {
		return func(r *wire.RunReport) { r.Final, r.Termination = true, &api.Termination{Reason: reason, Message: "m"} }
	}
	leaving := func(status api.PodStatus, policy api.RestartPolicy) api.Pod {
		p := live(status)
		p.RestartPolicy, p.Eviction = policy, &api.Eviction{Reason: api.ReasonEvicted, Message: "m"}
		return p
	}
	tests := []struct {
		name string
		pod  api.Pod
		r    wire.RunReport
		last int
		want api.PodStatus
		code fault.Code
	}{
		{"starting", live(api.PodScheduled), report(api.RunStarting, nil), 0, api.PodStarting, ""},
		{"ready", live(api.PodStarting), report(api.RunRunning, func(r *wire.RunReport) { r.Ready = true }), 1, api.PodRunning, ""},
		{"not yet ready", live(api.PodScheduled), report(api.RunRunning, nil), 0, api.PodStarting, ""},
		{"back from unknown", live(api.PodUnknown), report(api.RunRunning, func(r *wire.RunReport) { r.Ready = true }), 1, api.PodRunning, ""},
		{"stopping by itself", live(api.PodRunning), report(api.RunStopping, nil), 1, api.PodRunning, ""},
		{"stopping on request", live(api.PodStopping), report(api.RunRunning, func(r *wire.RunReport) { r.Ready = true }), 1, api.PodStopping, ""},
		{"restarts", live(api.PodRunning), report(api.RunExited, nil), 1, api.PodStarting, ""},
		{"completed", live(api.PodRunning), report(api.RunExited, final(api.ReasonCompleted)), 1, api.PodSucceeded, ""},
		{"failed", live(api.PodRunning), report(api.RunExited, final(api.ReasonOOMKilled)), 1, api.PodFailed, ""},
		{"evicted", live(api.PodRunning), report(api.RunExited, final(api.ReasonEvicted)), 1, api.PodEvicted, ""},
		{"stopped", live(api.PodRunning), report(api.RunExited, final(api.ReasonStopped)), 1, api.PodStopped, ""},
		{"error while stopping", live(api.PodStopping), report(api.RunExited, final(api.ReasonError)), 1, api.PodStopped, ""},
		{"evicted pod runs on elsewhere", leaving(api.PodStopping, api.RestartOnFailure), report(api.RunExited, final(api.ReasonEvicted)), 1, api.PodPending, ""},
		{"evicted pod that runs once", leaving(api.PodStopping, api.RestartNever), report(api.RunExited, final(api.ReasonEvicted)), 1, api.PodEvicted, ""},
		{"evicted while unknown", leaving(api.PodUnknown, api.RestartNever), report(api.RunRunning, nil), 1, api.PodStopping, ""},
		{"terminal already", live(api.PodFailed), report(api.RunRunning, nil), 1, "", ""},
		{"older attempt", live(api.PodRunning), report(api.RunExited, nil), 3, "", ""},
		{"older incarnation", live(api.PodRunning), report(api.RunExited, func(r *wire.RunReport) { r.Incarnation = 1 }), 1, "", ""},
		{"newer incarnation", live(api.PodRunning), report(api.RunExited, func(r *wire.RunReport) { r.Incarnation = 3 }), 1, "", fault.Stale},
		{"another pod", live(api.PodRunning), report(api.RunExited, func(r *wire.RunReport) { r.PodID = "q" }), 1, "", fault.NotFound},
		{"another node", api.Pod{ID: "p", NodeID: new("n2"), Status: api.PodRunning, Incarnation: 2}, report(api.RunExited, nil), 1, "", fault.Forbidden},
		{"lost", live(api.PodRunning), report(api.RunLost, nil), 1, "", fault.Validation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := pod.NextForReport(tt.pod, "n1", tt.last, tt.r)
			if fault.CodeOf(err) != tt.code {
				t.Fatalf("got %v, want %q", err, tt.code)
			}
			if c.Status != tt.want || c.Applies() != (tt.want != "") {
				t.Errorf("got %+v, want %q", c, tt.want)
			}
			if c.Status.Terminal() && (c.StoppedAt == nil || c.Reason == "" || c.LastTermination == nil) {
				t.Errorf("got %+v, want the end told", c)
			}
			if tt.want != "" && tt.want != tt.pod.Status && !pod.CanMove(tt.pod.Status, tt.want) {
				t.Errorf("%s may not become %s", tt.pod.Status, tt.want)
			}
			if c.Status == api.PodRunning && c.StartedAt == nil && tt.r.Ready {
				t.Error("the time of the start is missing")
			}
		})
	}
}

// What a pod says of a version that failed stays until something else becomes of the pod.
func TestNextForReportKeepsWhyARollbackFailed(t *testing.T) {
	t.Parallel()
	p := api.Pod{
		ID: "p", NodeID: new("n1"), Status: api.PodRunning, Incarnation: 1, Restarts: 1,
		Reason: api.ReasonRollbackFailed, StatusMessage: "version 2.0.0 failed",
	}
	for name, c := range map[string]struct {
		status  api.PodStatus
		attempt int
		r       wire.RunReport
		want    string
	}{
		"told again":       {api.PodRunning, 2, wire.RunReport{Status: api.RunRunning, Ready: true}, "RollbackFailed: version 2.0.0 failed"},
		"not ready, again": {api.PodStarting, 2, wire.RunReport{Status: api.RunRunning}, "RollbackFailed: version 2.0.0 failed"},
		"ready now":        {api.PodStarting, 2, wire.RunReport{Status: api.RunRunning, Ready: true}, ": "},
		"next attempt":     {api.PodStarting, 3, wire.RunReport{Status: api.RunStarting}, ": "},
		"falls":            {api.PodRunning, 2, wire.RunReport{Status: api.RunExited, Reason: api.ReasonCrashLoopBackOff, Message: "m"}, "CrashLoopBackOff: m"},
	} {
		p.Status, c.r.RunKey = c.status, api.RunKey{PodID: "p", Incarnation: 1, Attempt: c.attempt}
		got, err := pod.NextForReport(p, "n1", 2, c.r)
		if err != nil || got.Reason+": "+got.Message != c.want {
			t.Errorf("%s: got %+v, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestAfterNodeLost(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pod  api.Pod
		want api.PodStatus
	}{
		{api.Pod{Status: api.PodUnknown, RestartPolicy: api.RestartOnFailure}, api.PodPending},
		{api.Pod{Status: api.PodUnknown, RestartPolicy: api.RestartNever}, api.PodFailed},
		{api.Pod{Status: api.PodStopping}, api.PodStopped},
		{api.Pod{Status: api.PodUnknown, StopRequestedAt: new(time.Now())}, api.PodStopped},
	}
	out := &api.Eviction{Reason: api.ReasonPreempted}
	for policy, want := range map[api.RestartPolicy]api.PodStatus{api.RestartAlways: api.PodPending, api.RestartNever: api.PodEvicted} {
		if got, reason := pod.AfterNodeLost(api.Pod{Status: api.PodStopping, Eviction: out, RestartPolicy: policy}); got != want || reason != api.ReasonPreempted {
			t.Errorf("evicted, %s: got %s %s, want %s", policy, got, reason, want)
		}
	}
	for _, tt := range tests {
		if got, reason := pod.AfterNodeLost(tt.pod); got != tt.want || reason != api.ReasonNodeLost {
			t.Errorf("got %s %s, want %s", got, reason, tt.want)
		}
	}
}

func TestStopReason(t *testing.T) {
	t.Parallel()
	for had, want := range map[string]string{
		"": api.ReasonStopped, api.ReasonCrashLoopBackOff: api.ReasonStopped,
		api.ReasonEvicted: api.ReasonEvicted, api.ReasonPreempted: api.ReasonPreempted,
	} {
		if got := pod.StopReason(api.Pod{Reason: had}); got != want {
			t.Errorf("a pod with reason %q stops for %q, want %q", had, got, want)
		}
	}
}
