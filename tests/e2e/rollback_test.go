package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// version registers a version of a pack from its code.
func (c *cluster) version(name, version, code string) {
	c.t.Helper()
	_, err := c.Client.CreatePack(c.t.Context(), api.CreatePackRequest{Name: name, Version: version, RuntimeTag: api.TagNode}, bundle([]byte(code)))
	if err != nil {
		c.t.Fatal(err)
	}
}

const service = `exports.default = async ({ log, signal, ready }) => {
  log.info("serving VERSION");
  ready();
  await new Promise((done) => signal.addEventListener("abort", done));
  log.info("ending VERSION");
};`

func (c *cluster) rollback(id string, r api.RollbackRequest) api.Rollback {
	c.t.Helper()
	out, err := c.Client.RollbackPod(c.t.Context(), id, r)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// liveRuns gives the runs that have not ended.
func (c *cluster) liveRuns(id string) []api.Run {
	c.t.Helper()
	runs, err := c.Client.PodRuns(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	var live []api.Run
	for _, r := range runs {
		if r.Status != api.RunExited && r.Status != api.RunLost {
			live = append(live, r)
		}
	}
	return live
}

// eventually looks at what no watch tells of, the ends of runs, until it is as wanted.
func (c *cluster) eventually(what string, holds func() bool) {
	c.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-limit.C:
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestAPodGoesToAnotherVersionWithoutAGap(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	c.waitNode("worker", api.NodeOnline)
	for _, v := range []string{"1.0.0", "2.0.0"} {
		c.version("service", v, strings.ReplaceAll(service, "VERSION", v))
	}
	c.version("service", "3.0.0", `throw new Error("cannot start at all")`)
	p, err := c.Client.CreatePod(t.Context(), api.CreatePodRequest{PackName: "service", PackVersion: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	c.waitStatus(p.ID, api.PodRunning)
	is := func(version string) func(api.Pod) bool {
		return func(p api.Pod) bool {
			return p.PackVersion == version && p.Rollout == nil && p.Status == api.PodRunning
		}
	}
	wait := func(what string, holds func(api.Pod) bool) api.Pod {
		t.Helper()
		return c.waitPod(p.ID, what, holds)
	}

	c.rollback(p.ID, api.RollbackRequest{TargetVersion: "2.0.0"})
	wait("to run 2.0.0", is("2.0.0"))

	// A version that cannot start leaves the present one running.
	c.rollback(p.ID, api.RollbackRequest{TargetVersion: "3.0.0"})
	failed := wait("to have given 3.0.0 up", func(p api.Pod) bool { return p.Reason == api.ReasonRollbackFailed })
	if failed.PackVersion != "2.0.0" || failed.Status != api.PodRunning || !strings.Contains(failed.StatusMessage, "cannot start at all") {
		t.Errorf("the pod is %+v", failed)
	}

	// Back to what ran well before, without a name.
	if out := c.rollback(p.ID, api.RollbackRequest{}); out.NewVersion != "1.0.0" {
		t.Errorf("the default target is %s", out.NewVersion)
	}
	back := wait("to run 1.0.0 again", is("1.0.0"))
	c.eventually("one run alone to live on", func() bool {
		live := c.liveRuns(p.ID)
		return len(live) == 1 && live[0].Incarnation == back.Incarnation
	})

	// At once: the present one stops first.
	c.rollback(p.ID, api.RollbackRequest{TargetVersion: "2.0.0", Now: true})
	wait("to run 2.0.0 at once", is("2.0.0"))
	if _, _, err := c.Client.StopPod(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(p.ID, api.PodStopped)
	c.eventually("nothing to live on", func() bool { return len(c.liveRuns(p.ID)) == 0 })
}
