package fault

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// leader gives the server that leads now.
func (c *cluster) leader() *harness.Server {
	c.t.Helper()
	var leader *harness.Server
	c.eventually("one leader", func() error {
		all := c.Leaders(c.t.Context())
		if len(all) != 1 {
			return fmt.Errorf("%d of %d servers lead", len(all), len(c.Servers))
		}
		leader = all[0]
		return nil
	})
	return leader
}

func (c *cluster) stop(s *harness.Server) {
	c.t.Helper()
	if err := s.Stop(30 * time.Second); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) restart(s *harness.Server) {
	c.t.Helper()
	if err := c.Restart(c.t.Context(), s); err != nil {
		c.t.Fatal(err)
	}
}

// A server that is told to stop gives its lease up and its nodes over: the next
// decision is bound by the other at once, no node is lost, and no pod is touched.
func TestAStoppedLeaderHandsOver(t *testing.T) {
	t.Parallel()
	c := start(t, 2, 4)
	before := c.pods(8)
	c.all(before)
	leader := c.leader()
	if err := leader.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	after := c.pods(4)
	<-leader.Done()
	c.all(append(before, after...))
	c.wereStarted(1, before...)
	c.wereStarted(1, after...)
	for i := range 4 {
		c.eventually("the node to be handed over", func() error { return c.nodeIs(fmt.Sprintf("node-%d", i+1), api.NodeOnline) })
	}
	c.restart(leader)
}

// A leader that is killed is followed when its lease ends; nothing that runs is touched.
func TestAKilledLeaderIsFollowed(t *testing.T) {
	t.Parallel()
	c := start(t, 2, 2)
	before := c.pods(4)
	c.all(before)
	leader := c.leader()
	leader.Kill()
	after := c.pods(4)
	c.all(append(before, after...))
	c.wereStarted(1, append(before, after...)...)
	c.restart(leader)
	c.all(append(before, c.pods(2)...))
}

// A leader that stands still for longer than its lease and then goes on, with all it
// had planned, decides nothing any more.
func TestAFrozenLeaderIsDeposed(t *testing.T) {
	t.Parallel()
	c := start(t, 2, 3)
	before := c.pods(6)
	c.all(before)
	at := c.goroutines()
	leader := c.leader()
	epoch := c.epoch()
	if err := leader.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	after := c.pods(6)
	c.eventually("another leader", func() error {
		if now := c.epoch(); now == epoch {
			return fmt.Errorf("the epoch is still %d", now)
		}
		return nil
	})
	// Longer than its lease and the silence that makes sockets dead.
	time.Sleep(time.Until(began.Add(20 * time.Second)))
	if err := leader.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	after = append(after, c.pods(4)...)
	c.all(append(before, after...))
	c.wereStarted(1, append(before, after...)...)
	c.leader()
	c.leaksNothing(at)
}

func (c *cluster) epoch() (epoch int64) {
	c.t.Helper()
	if err := c.db.QueryRow(c.t.Context(), "select epoch from stark.leader_lease").Scan(&epoch); err != nil {
		c.t.Fatal(err)
	}
	return epoch
}

// Both servers go and come back, by turns gently and hard, while pods are asked for.
func TestServersRestartDuringDeploys(t *testing.T) {
	t.Parallel()
	c := start(t, 2, 4)
	const deploys = 200
	deployed := c.meanwhile(deploys)
	for i := range 4 {
		s := c.Servers[i%2]
		if i < 2 {
			c.stop(s)
		} else {
			s.Kill()
		}
		c.restart(s)
	}
	ids := deployed()
	c.all(ids)
	c.wereStarted(1, ids...)
	c.delete(ids)
	c.settled()
}

// meanwhile asks for pods in the background; what it gives waits for them.
func (c *cluster) meanwhile(n int) func() []string {
	var ids []string
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		ids, err = c.ask(n)
	}()
	c.t.Cleanup(func() { <-done })
	return func() []string {
		c.t.Helper()
		<-done
		if err != nil {
			c.t.Fatal(err)
		}
		return ids
	}
}

func (c *cluster) delete(ids []string) {
	c.t.Helper()
	for _, id := range ids {
		if err := c.persist(func() error {
			_, _, err := c.Client.StopPod(c.t.Context(), id)
			return err
		}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// An agent that is killed again and again while it is given work starts each key once.
func TestAnAgentRestartsDuringDeploys(t *testing.T) {
	t.Parallel()
	c := start(t, 1, 0)
	agent := c.node("node-1")
	deployed := c.meanwhile(40)
	for range 20 {
		agent.Kill()
		agent = c.node("node-1")
	}
	c.all(deployed())
}
