package e2e

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/relaytest"
	"github.com/stark-orchestrator/stark/shared/api"
)

var long = flag.Bool("long", false, "let tabs be offline, asleep and hidden for as long as people leave them: a quarter of an hour")

// hasty makes a cluster find nodes lost after seconds, and evict nothing meanwhile.
func (c *cluster) hasty() {
	c.t.Helper()
	c.sql(c.t, `update public.cluster_config set heartbeat_interval_ms = 1000, heartbeat_timeout_ms = 4000, eviction_timeout_ms = 600000`)
}

// A tab that is offline, for a minute with -long, comes back as the same node, and its
// pods have gone on all the time.
func TestATabThatWasOfflineGoesOn(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	c.hasty()
	line, err := relaytest.New(t.Context(), relaytest.To(strings.TrimPrefix(c.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = line.Close() }()
	c.joinAt(tb, "http://"+line.Addr())
	node := c.nodeOf(tb)
	c.universal("greeter", greeter)
	pod := c.pod("greeter")
	c.waitStatus(pod.ID, api.PodRunning)
	line.Freeze() // nobody is told
	line.Refuse(true)
	c.waitNode(node.Name, api.NodeUnhealthy)
	c.waitStatus(pod.ID, api.PodUnknown)
	if *long {
		time.Sleep(time.Minute)
	}
	line.Cut()
	tb.state("connecting")
	line.Thaw()
	line.Refuse(false)
	tb.state("online")
	if now := c.nodeOf(tb); now.ID != node.ID {
		t.Errorf("the node %s has become %s", node.ID, now.ID)
	}
	after := c.waitStatus(pod.ID, api.PodRunning)
	if after.Incarnation != pod.Incarnation || after.Restarts != 0 || c.attempts(pod.ID) != 1 {
		t.Errorf("the pod was started again: %+v", after)
	}
}
