package e2e

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// ending is one way in which a run ends: what brings it about, and what its record
// has to say.
type ending struct {
	reason string
	pack   string
	change func(*api.CreatePodRequest)
	status api.PodStatus
	output string // in the last output
	code   *int   // exit code; nil: none is known
	silent bool   // no process has run, so that there are no figures
}

// placing gives what makes a request one for a pod that runs once on a node.
type placing func(node string, more ...func(*api.CreatePodRequest)) func(*api.CreatePodRequest)

// Every reason for which a run can end leaves a record that tells it, with exit code,
// the end of the output, and what the run has used.
func TestEveryReasonLeavesARecord(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.sql(t, `update public.cluster_config set heartbeat_interval_ms = 1000, heartbeat_timeout_ms = 12000, eviction_timeout_ms = 1000`) // a node that is only busy is not lost
	c.node("worker", "--cpu", "4", "--memory", "4Gi")
	for _, name := range []string{"once", "exits", "leaks-heap", "throws-at-load", "steady"} {
		c.pack(c.Client, name)
	}
	var on placing = func(node string, more ...func(*api.CreatePodRequest)) func(*api.CreatePodRequest) {
		return func(r *api.CreatePodRequest) {
			r.RestartPolicy, r.Scheduling = api.RestartNever, &api.Scheduling{NodeSelector: map[string]string{"at": node}}
			for _, f := range more {
				f(r)
			}
		}
	}
	c.labelled("worker", "worker")
	endings := []ending{
		{reason: api.ReasonCompleted, pack: "once", change: on("worker"), status: api.PodSucceeded, output: "done", code: new(0)},
		{reason: api.ReasonError, pack: "exits", change: on("worker"), status: api.PodFailed, output: "about to exit", code: new(7)},
		{reason: api.ReasonPackLoadError, pack: "throws-at-load", change: on("worker"), status: api.PodFailed, output: "about to fail at load"},
		{reason: api.ReasonOOMKilled, pack: "leaks-heap", status: api.PodFailed, output: "about to leak heap", change: on("worker", func(r *api.CreatePodRequest) {
			r.ResourceLimits = &api.ResourceInput{Memory: new(api.Mebibytes(96))}
		})},
		{reason: api.ReasonDeadlineExceeded, pack: "steady", status: api.PodFailed, output: "steady 1.0.0", change: on("worker", func(r *api.CreatePodRequest) {
			r.ActiveDeadlineSeconds = new(15) // from the start of a process, which has to come to its first word
		})},
	}
	ids := make([]string, len(endings))
	for i, e := range endings {
		ids[i] = c.pod(e.pack, e.change).ID
	}
	for i, e := range endings {
		c.waitPod(ids[i], "to end", func(p api.Pod) bool { return p.Status.Terminal() })
		c.recorded(ids[i], e)
	}

	stopped := c.steadyOn("worker", on("worker"))
	if _, _, err := c.Client.StopPod(t.Context(), stopped); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(stopped, api.PodStopped)
	c.recorded(stopped, ending{reason: api.ReasonStopped, status: api.PodStopped, output: "steady 1.0.0"})

	evicted := c.steadyOn("worker", on("worker"))
	n := c.waitNode("worker", api.NodeOnline)
	taint := []api.Taint{{Key: "away", Effect: api.NoExecute}}
	if _, err := c.Client.UpdateNode(t.Context(), n.ID, api.UpdateNodeRequest{Taints: &taint}); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(evicted, api.PodEvicted)
	c.recorded(evicted, ending{reason: api.ReasonEvicted, status: api.PodEvicted, output: "steady 1.0.0"})
	c.preempts(on)
	c.losesItsNode(on)
}

// A node that cannot fetch a bundle says so in the same way.
func TestABundleThatIsNotThereLeavesARecord(t *testing.T) {
	t.Parallel()
	c := start(t, "STARK_SUPABASE_PUBLIC_URL=http://127.0.0.1:1") // where nodes are sent for bundles
	c.node("far")
	c.pack(c.Client, "steady")
	p := c.pod("steady", func(r *api.CreatePodRequest) { r.RestartPolicy = api.RestartNever })
	c.waitPod(p.ID, "to end", func(p api.Pod) bool { return p.Status.Terminal() })
	c.recorded(p.ID, ending{reason: api.ReasonBundleUnavailable, status: api.PodFailed, silent: true})
}

// preempts fills a node and lets a pod of a higher class take its room.
func (c *cluster) preempts(on placing) {
	c.t.Helper()
	c.node("small", "--pods", "1")
	c.labelled("small", "small")
	low := c.steadyOn("small", on("small"))
	c.pod("steady", on("small", func(r *api.CreatePodRequest) { r.PriorityClassName = "high-priority" }))
	c.waitPod(low, "to be preempted", func(p api.Pod) bool { return p.Status.Terminal() })
	c.recorded(low, ending{reason: api.ReasonPreempted, status: api.PodEvicted, output: "steady 1.0.0"})
}

// losesItsNode ends a node under a pod and waits until it is given up.
func (c *cluster) losesItsNode(on placing) {
	c.t.Helper()
	agent := c.node("doomed")
	c.labelled("doomed", "doomed")
	lost := c.steadyOn("doomed", on("doomed"))
	agent.Kill()
	c.waitStatus(lost, api.PodFailed)
	c.recorded(lost, ending{reason: api.ReasonNodeLost, status: api.PodFailed, silent: true})
}

func (c *cluster) labelled(node, at string) {
	c.t.Helper()
	n := c.waitNode(node, api.NodeOnline)
	if _, err := c.Client.UpdateNode(c.t.Context(), n.ID, api.UpdateNodeRequest{Labels: map[string]string{"at": at}}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) steadyOn(node string, change func(*api.CreatePodRequest)) string {
	c.t.Helper()
	p := c.waitStatus(c.pod("steady", change).ID, api.PodRunning)
	if p.NodeName != node {
		c.t.Fatalf("pod %s runs on %s, want %s", p.ID, p.NodeName, node)
	}
	return p.ID
}

// recorded checks the record of a pod's only run, and that the pod has the same.
func (c *cluster) recorded(id string, want ending) {
	c.t.Helper()
	p, err := c.Client.GetPod(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	runs, err := c.Client.PodRuns(c.t.Context(), id)
	if err != nil || len(runs) != 1 || runs[0].Termination == nil {
		c.t.Errorf("%s: the runs are %+v, %v; want one with a record", want.reason, runs, err)
		return
	}
	got := runs[0].Termination
	if p.Status != want.status || p.LastTermination == nil || p.LastTermination.Reason != want.reason {
		c.t.Errorf("%s: the pod is %s (%s), %+v; want %s", want.reason, p.Status, p.Reason, p.LastTermination, want.status)
	}
	if got.Reason != want.reason || got.Attempt != 1 || got.FinishedAt.IsZero() || runs[0].FinishedAt == nil || got.RestartsAt != nil {
		c.t.Errorf("%s: the record is %+v", want.reason, got)
	}
	if !strings.Contains(got.LastOutput, want.output) {
		c.t.Errorf("%s: the last output is %q, want %q", want.reason, got.LastOutput, want.output)
	}
	if want.code != nil && (got.ExitCode == nil || *got.ExitCode != *want.code) {
		c.t.Errorf("%s: exit code %v, want %d", want.reason, got.ExitCode, *want.code)
	}
	if !want.silent && (got.Usage.MemoryMiB <= 0 || got.Usage.CPUMillis <= 0) {
		c.t.Errorf("%s: the run has used %+v", want.reason, got.Usage)
	}
	if want.silent && got.Message == "" {
		c.t.Errorf("%s: nothing is said of it", want.reason)
	}
}
