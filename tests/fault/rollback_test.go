package fault

import (
	"fmt"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Fifty rollbacks go to and fro while a server is killed and an agent is restarted: each
// that was accepted is done, each run is started once, and at rest every pod runs once,
// in the version that was asked for last.
func TestRollbacksWhileServersAndAgentsGo(t *testing.T) {
	t.Parallel()
	const pods, rounds = 10, 5
	c := start(t, 2, 1)
	agent := c.node("node-2")
	ids := c.pods(pods)
	c.all(ids)
	want := map[string]string{}
	done := make(chan error, 1)
	go func() {
		for round := range rounds {
			for _, id := range ids {
				target := []string{"2.0.0", "1.0.0"}[round%2]
				if err := c.rollBack(id, target); err != nil {
					done <- fmt.Errorf("roll pod %s back to %s: %w", id, target, err)
					return
				}
				want[id] = target
			}
		}
		done <- nil
	}()
	killed := c.leader()
	killed.Kill()
	agent.Kill()
	agent = c.node("node-2")
	c.restart(killed)
	agent.Kill()
	c.node("node-2")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.all(ids)
	for _, id := range ids {
		p, err := c.Client.GetPod(t.Context(), id)
		if err != nil || p.PackVersion != want[id] {
			t.Errorf("pod %s runs %s, want %s (%v)", id, p.PackVersion, want[id], err)
		}
	}
}

// rollBack asks until it is accepted: while a pod is between two versions, or has not
// been placed again, it is refused.
func (c *cluster) rollBack(id, target string) error {
	return within(c.t.Context(), patience, func() error {
		_, err := c.Client.RollbackPod(c.t.Context(), id, api.RollbackRequest{TargetVersion: target})
		if fault.CodeOf(err) == fault.SameVersion {
			err = c.goesTo(id, target)
		}
		return err
	})
}

// goesTo checks whether a pod that is said to have a version has it, or is on its way
// there: an attempt whose answer was lost has been accepted.
func (c *cluster) goesTo(id, target string) error {
	p, err := c.Client.GetPod(c.t.Context(), id)
	if err == nil && p.PackVersion != target {
		err = fmt.Errorf("it is said to have %s already and has %s", target, p.PackVersion)
	}
	return err
}
