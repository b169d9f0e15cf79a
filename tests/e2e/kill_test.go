package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// running starts pods and waits until they run.
func (c *cluster) running(n int) []api.Pod {
	c.t.Helper()
	c.pack(c.Client, "steady")
	pods := make([]api.Pod, n)
	for i := range pods {
		pods[i] = c.pod("steady")
	}
	for i := range pods {
		pods[i] = c.waitStatus(pods[i].ID, api.PodRunning)
	}
	return pods
}

// attempts tells how many runs of a pod were ever started, and fails when two of
// them are alive at once.
func (c *cluster) attempts(id string) int {
	c.t.Helper()
	runs, err := c.Client.PodRuns(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	alive := 0
	for _, r := range runs {
		if r.Status != api.RunExited && r.Status != api.RunLost {
			alive++
		}
	}
	if alive > 1 {
		c.t.Errorf("pod %s has %d live runs: %+v", id, alive, runs)
	}
	return len(runs)
}

func TestAKilledAgentComesBackAsTheSameNodeAndStartsItsPodsAgain(t *testing.T) {
	t.Parallel()
	c := start(t)
	agent := c.node("worker")
	before := c.waitNode("worker", api.NodeOnline)
	pods := c.running(3)
	agent.Kill()
	c.waitNode("worker", api.NodeSuspect)
	c.node("worker")
	if after := c.waitNode("worker", api.NodeOnline); after.ID != before.ID {
		t.Errorf("the node came back as %s, was %s", after.ID, before.ID)
	}
	for _, p := range pods {
		c.waitPod(p.ID, "to run again", func(p api.Pod) bool { return p.Status == api.PodRunning && p.Restarts == 1 })
		if n := c.attempts(p.ID); n != 2 {
			t.Errorf("pod %s had %d attempts, want 2", p.ID, n)
		}
	}
}

func TestAKilledServerLeavesPodsRunning(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	pods := c.running(3)
	c.Server.Kill()
	if err := c.StartServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.rewatch()
	c.waitNode("worker", api.NodeOnline)
	for _, p := range pods {
		after := c.waitStatus(p.ID, api.PodRunning)
		if after.Restarts != 0 || after.Incarnation != p.Incarnation || c.attempts(p.ID) != 1 {
			t.Errorf("pod %s was started again: %d restarts, incarnation %d", p.ID, after.Restarts, after.Incarnation)
		}
	}
	c.waitStatus(c.pod("steady").ID, api.PodRunning)
}

func TestAKilledPostgresLosesNothing(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	pods := c.running(3)
	killed := c.Stack.Postgres.PID()
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.until("Postgres to be started again", func() bool { return c.Stack.Postgres.PID() != killed })
	// The stack has started Postgres again; until the server has found it, writes
	// are refused as a whole.
	late := c.podAsSoonAsPossible("steady")
	for _, p := range pods {
		after := c.waitStatus(p.ID, api.PodRunning)
		if after.Restarts != 0 || c.attempts(p.ID) != 1 {
			t.Errorf("pod %s was started again: %d restarts", p.ID, after.Restarts)
		}
	}
	c.waitStatus(late.ID, api.PodRunning)
}

// podAsSoonAsPossible asks for a pod until the database is back.
func (c *cluster) podAsSoonAsPossible(name string) api.Pod {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		p, err := c.Client.CreatePod(ctx, api.CreatePodRequest{PackName: name})
		if err == nil {
			return p
		}
		if !fault.Retryable(err) {
			c.t.Fatalf("while Postgres is away: %v, want an error that may be retried", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			c.t.Fatalf("the database did not come back: %v", err)
		}
	}
}

// until looks again and again until something that no watch tells has happened.
func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-ctx.Done():
			c.t.Fatalf("waiting for %s: %v", what, ctx.Err())
		}
	}
}

func TestAKilledHostIsThatPodsOwnFailure(t *testing.T) {
	t.Parallel()
	c := start(t)
	agent := c.node("worker", "--warm-pool", "0")
	pods := c.running(2)
	hosts := children(t, agent.PID())
	if len(hosts) != 2 {
		t.Fatalf("the agent has the children %v, want 2 hosts", hosts)
	}
	if err := syscall.Kill(hosts[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	restarted := func() (n int) {
		for _, p := range pods {
			if got, err := c.Client.GetPod(t.Context(), p.ID); err == nil && got.Restarts == 1 && got.Status == api.PodRunning {
				n++
			}
		}
		return n
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	err := c.watch.Wait(ctx, "one pod to be restarted", func(all map[string]api.Pod) bool {
		n := 0
		for _, p := range pods {
			if got := all[p.ID]; got.Restarts == 1 && got.Status == api.PodRunning && got.LastTermination != nil && got.LastTermination.Reason == api.ReasonHostCrashed {
				n++
			}
		}
		return n == 1
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := restarted(); n != 1 {
		t.Errorf("%d pods were restarted, want 1", n)
	}
}

// children lists the processes whose parent is pid.
func children(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Skip("this system has no /proc to find the hosts in")
	}
	var out []int
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, child)
		}
	}
	return out
}
