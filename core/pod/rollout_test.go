package pod_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func rolling() api.Pod {
	node := "n1"
	return api.Pod{
		ID: "p", NodeID: &node, Status: api.PodRunning, Incarnation: 1, PackVersion: "2.0.0", Restarts: 4,
		Rollout: &api.Rollout{PackID: "k1", PackVersion: "1.0.0", Incarnation: 2},
	}
}

func TestNextForRollout(t *testing.T) {
	t.Parallel()
	report := func(status api.RunStatus, change func(*wire.RunReport)) wire.RunReport {
		r := wire.RunReport{RunKey: api.RunKey{PodID: "p", Incarnation: 2, Attempt: 1}, Status: status, At: time.Now()}
		if change != nil {
			change(&r)
		}
		return r
	}
	for name, c := range map[string]struct {
		pod    api.Pod
		node   string
		report wire.RunReport
		want   pod.RolloutVerdict
		says   string
		code   fault.Code
	}{
		"starts":    {rolling(), "n1", report(api.RunStarting, nil), pod.RolloutGoesOn, "", ""},
		"not ready": {rolling(), "n1", report(api.RunRunning, nil), pod.RolloutGoesOn, "", ""},
		"ready":     {rolling(), "n1", report(api.RunRunning, func(r *wire.RunReport) { r.Ready = true }), pod.RolloutDone, "", ""},
		"stops":     {rolling(), "n1", report(api.RunStopping, nil), pod.RolloutGoesOn, "", ""},
		"ends":      {rolling(), "n1", report(api.RunExited, func(r *wire.RunReport) { r.Reason = api.ReasonError }), pod.RolloutFailed, "Error", ""},
		"ends badly": {rolling(), "n1", report(api.RunExited, func(r *wire.RunReport) {
			r.Termination = &api.Termination{Reason: api.ReasonOOMKilled, Message: "too much\n    at a stack"}
		}), pod.RolloutFailed, "OOMKilled: too much); version 2.0.0 runs on", ""},
		"cannot be read": {rolling(), "n1", report(api.RunExited, func(r *wire.RunReport) {
			r.Termination = &api.Termination{Reason: api.ReasonPackLoadError, Message: "/bundles/1.cjs:7\nthis is not js\n     ^^\n\nSyntaxError: Unexpected identifier 'is'\n    at wrapSafe (node:internal)"}
		}), pod.RolloutFailed, "(PackLoadError: SyntaxError: Unexpected identifier 'is')", ""},
		"shows its code": {rolling(), "n1", report(api.RunExited, func(r *wire.RunReport) {
			r.Termination = &api.Termination{Reason: api.ReasonError, Message: "TypeError: a\nSyntaxError: b"}
		}), pod.RolloutFailed, "(Error: TypeError: a)", ""},
		"names a place": {rolling(), "n1", report(api.RunExited, func(r *wire.RunReport) {
			r.Termination = &api.Termination{Reason: api.ReasonError, Message: "cannot reach db:5432\n    at connect"}
		}), pod.RolloutFailed, "(Error: cannot reach db:5432)", ""},
		"elsewhere":   {rolling(), "n2", report(api.RunRunning, nil), pod.RolloutGoesOn, "", fault.Forbidden},
		"another one": {rolling(), "n1", report(api.RunRunning, func(r *wire.RunReport) { r.Incarnation = 3 }), pod.RolloutGoesOn, "", fault.Stale},
		"odd":         {rolling(), "n1", report(api.RunLost, nil), pod.RolloutGoesOn, "", fault.Validation},
		"no rollout":  {api.Pod{ID: "p"}, "n1", report(api.RunRunning, nil), pod.RolloutGoesOn, "", fault.Stale},
	} {
		got, err := pod.NextForRollout(c.pod, c.node, c.report)
		if got.Verdict != c.want || fault.CodeOf(err) != c.code || !strings.Contains(got.Message, c.says) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if c.want == pod.RolloutDone && (got.Status != api.PodRunning || got.StartedAt == nil || got.Restarts != 0) {
			t.Errorf("%s: the pod becomes %+v", name, got.Change)
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	p := rolling()
	if !pod.NextWanted(p) {
		t.Error("the next incarnation is not wanted")
	}
	next := pod.Next(p, api.Pack{ID: "k1", Version: "1.0.0", RuntimeTag: api.TagUniversal})
	if next.Incarnation != 2 || next.PackID != "k1" || next.PackVersion != "1.0.0" || next.RuntimeTag != api.TagUniversal || next.Restarts != 0 || next.Rollout != nil {
		t.Errorf("got %+v", next)
	}
	if p.Incarnation != 1 || p.Rollout == nil {
		t.Error("the pod itself has changed")
	}
	now := time.Now()
	p.StopRequestedAt = &now
	if pod.NextWanted(p) || pod.NextWanted(api.Pod{}) {
		t.Error("a pod that stops, or has no rollout, wants no next incarnation")
	}
}
