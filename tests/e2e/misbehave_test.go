package e2e

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Every way a pack can go wrong ends as that pod's own failure, with a reason
// and its last output, and the node and its other pods live on.
func TestMisbehavingPacksEndAsTheirOwnFailure(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	c.pack(c.Client, "steady")
	steady := c.pod("steady")
	c.waitStatus(steady.ID, api.PodRunning)

	memory := func(r *api.CreatePodRequest) {
		r.ResourceLimits = &api.ResourceInput{Memory: new(api.Mebibytes(96))}
	}
	// A deadline counts from the start of a process, which has to come to its first word.
	deadline := func(r *api.CreatePodRequest) { r.ActiveDeadlineSeconds = new(15) }
	cases := []struct {
		pack   string
		change func(*api.CreatePodRequest)
		reason string
		output string // in the last output
		says   string // in the message
	}{
		{"throws-at-load", nil, api.ReasonPackLoadError, "about to fail at load", "broken at load"},
		{"throws", nil, api.ReasonError, "about to throw", "broken at run"},
		{"exits", nil, api.ReasonError, "about to exit", ""},
		{"kills-itself", nil, api.ReasonHostCrashed, "about to kill my process", ""},
		{"leaks-heap", memory, api.ReasonOOMKilled, "about to leak heap", ""},
		{"leaks-buffers", memory, api.ReasonOOMKilled, "about to leak buffers", ""},
		{"loops", deadline, api.ReasonDeadlineExceeded, "about to loop", ""},
	}
	ids := make([]string, len(cases))
	for i, tc := range cases {
		c.pack(c.Client, tc.pack)
		pod := c.pod(tc.pack, func(r *api.CreatePodRequest) {
			r.RestartPolicy = api.RestartNever
			if tc.change != nil {
				tc.change(r)
			}
		})
		ids[i] = pod.ID
	}
	for i, tc := range cases {
		p := c.waitPod(ids[i], "to end", func(p api.Pod) bool { return p.Status.Terminal() })
		last := p.LastTermination
		if p.Status != api.PodFailed || last == nil || last.Reason != tc.reason {
			t.Errorf("%s: status %s, reason %s, last %+v; want failed by %s", tc.pack, p.Status, p.Reason, last, tc.reason)
			continue
		}
		if !strings.Contains(last.LastOutput, tc.output) || !strings.Contains(last.Message, tc.says) {
			t.Errorf("%s: message %q, last output %q; want %q and %q", tc.pack, last.Message, last.LastOutput, tc.says, tc.output)
		}
	}
	if p, err := c.Client.GetPod(t.Context(), steady.ID); err != nil || p.Status != api.PodRunning || p.Restarts != 0 {
		t.Errorf("the steady pod: %s, %d restarts, %v", p.Status, p.Restarts, err)
	}
	c.waitNode("worker", api.NodeOnline)
}

func TestAPodThatIgnoresStopIsKilledAfterItsGracePeriod(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	c.pack(c.Client, "ignores-stop")
	pod := c.pod("ignores-stop", func(r *api.CreatePodRequest) { r.TerminationGracePeriodSeconds = new(1) })
	c.waitStatus(pod.ID, api.PodRunning)
	if _, _, err := c.Client.StopPod(t.Context(), pod.ID); err != nil {
		t.Fatal(err)
	}
	p := c.waitStatus(pod.ID, api.PodStopped)
	if p.LastTermination == nil || p.LastTermination.Reason != api.ReasonStopped {
		t.Errorf("last termination %+v, want reason %s", p.LastTermination, api.ReasonStopped)
	}
}

func TestRestartPoliciesDecideWhetherAnEndedRunStartsAgain(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	c.pack(c.Client, "throws")
	c.pack(c.Client, "once")
	policy := func(p api.RestartPolicy) func(*api.CreatePodRequest) {
		return func(r *api.CreatePodRequest) { r.RestartPolicy = p }
	}
	looping := c.pod("throws", policy(api.RestartOnFailure))
	always := c.pod("once", policy(api.RestartAlways))
	once := c.pod("once", policy(api.RestartOnFailure))
	never := c.pod("throws", policy(api.RestartNever))

	c.waitPod(looping.ID, "to restart twice and back off", func(p api.Pod) bool {
		return p.Restarts >= 2 && p.Reason == api.ReasonCrashLoopBackOff && p.LastTermination != nil
	})
	c.waitPod(always.ID, "to restart", func(p api.Pod) bool { return p.Restarts >= 1 })
	if p := c.waitStatus(once.ID, api.PodSucceeded); p.Restarts != 0 {
		t.Errorf("a pod that returned was restarted %d times", p.Restarts)
	}
	if p := c.waitStatus(never.ID, api.PodFailed); p.Restarts != 0 {
		t.Errorf("a pod with policy Never was restarted %d times", p.Restarts)
	}
}

// What the pack keeps as defaults reaches the pod, and the pod's own words win.
func TestAPodsEnvironmentComesFromItsPackAndItself(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	c.pack(c.Client, "once", func(r *api.CreatePackRequest) {
		r.Metadata = map[string]any{"env": map[string]any{"GREETING": "by the pack"}}
	})
	for want, env := range map[string]map[string]string{
		"done by the pack": nil,
		"done by the pod":  {"GREETING": "by the pod"},
	} {
		p := c.waitStatus(c.pod("once", func(r *api.CreatePodRequest) { r.Env = env }).ID, api.PodSucceeded)
		if p.LastTermination == nil || !strings.Contains(p.LastTermination.LastOutput, want) {
			t.Errorf("last termination %+v, want output %q", p.LastTermination, want)
		}
	}
}

func TestFiftyPodsRunOnOneNode(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker", "--pods", "60", "--cpu", "8", "--memory", "16Gi")
	c.pack(c.Client, "steady")
	for _, isolation := range []api.Isolation{api.IsolationShared, api.IsolationProcess} {
		var ids []string
		for range 25 {
			pod := c.pod("steady", func(r *api.CreatePodRequest) { r.Isolation = isolation })
			ids = append(ids, pod.ID)
		}
		for _, id := range ids {
			c.waitStatus(id, api.PodRunning)
		}
	}
	page, err := c.Client.ListPods(t.Context(), api.PodQuery{Status: api.PodRunning, PageQuery: api.PageQuery{PageSize: 100}})
	if err != nil || page.Total != 50 {
		t.Fatalf("%d pods running, %v; want 50", page.Total, err)
	}
	for _, p := range page.Items {
		if _, _, err := c.Client.StopPod(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range page.Items {
		c.waitStatus(p.ID, api.PodStopped)
	}
}
