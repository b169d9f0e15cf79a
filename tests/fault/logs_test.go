package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// counting writes a number a line, without end.
const counting = `exports.default = async ({ log, signal, ready }) => {
  ready();
  for (let n = 0; !signal.aborted; n++) {
    log.info("n=" + n);
    await new Promise((done) => setTimeout(done, 20));
  }
};
`

// holder gives the server that holds the connection of a node, and the other one.
func (c *cluster) holder(node string) (holds, other *harness.Server) {
	c.t.Helper()
	var address string
	c.eventually("a server to hold "+node, func() error {
		return c.db.QueryRow(c.t.Context(), `select s.address from public.nodes n
			join stark.node_leases l on l.node_id = n.id join stark.servers s on s.id = l.server_id
			where n.name = $1 and n.status = 'online'`, node).Scan(&address)
	})
	for _, s := range c.Servers {
		if s.URL == address {
			holds = s
		} else {
			other = s
		}
	}
	if holds == nil || other == nil {
		c.t.Fatalf("no server is at %s", address)
	}
	return holds, other
}

func (c *cluster) clientOf(s *harness.Server) *client.Client {
	c.t.Helper()
	cl, err := client.New(client.Config{URL: s.URL, Token: client.StaticToken(c.Session.AccessToken)})
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// follow reads lines until enough says so.
func (c *cluster) follow(cl *client.Client, pod string, enough func(api.LogLine) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for l, err := range cl.PodLogs(ctx, pod, client.LogOptions{Follow: true, Tail: new(-1)}) {
		if err != nil {
			c.t.Fatalf("follow: %v", err)
		}
		if enough(l) {
			return
		}
	}
	c.t.Fatal("the stream has ended")
}

// number reads what counting writes, and is -1 for what it does not.
func number(l api.LogLine) int {
	n := -1
	if _, text, ok := strings.Cut(l.Line, "n="); ok {
		if _, err := fmt.Sscanf(text, "%d", &n); err != nil {
			return -1
		}
	}
	return n
}

// Whichever server is asked for the logs of a pod has them; and when the server that
// holds the node's connection is killed, a follower elsewhere goes on.
func TestLogsAreReadAtAnyServer(t *testing.T) {
	t.Parallel()
	c := start(t, 2, 1)
	c.register("counting", "1.0.0", counting)
	pods := c.pods(1, func(r *api.CreatePodRequest) { r.PackName = "counting" })
	c.eventually("the pod to run", func() error { return c.areAll(pods, api.PodRunning) })
	holds, other := c.holder("node-1")
	seen, killed := -1, false
	c.follow(c.clientOf(other), pods[0], func(l api.LogLine) bool {
		n := number(l)
		if n < 0 {
			return false
		}
		if n != seen+1 {
			t.Errorf("line %d comes after %d, without a mark", n, seen)
		}
		seen = n
		if n >= 20 && !killed {
			holds.Kill()
			killed = true
		}
		return killed && n > 150
	})
	c.restart(holds)
}

// What a pod has written is read after its agent was killed, from what was stored, and
// says so.
func TestLogsOfADeadAgent(t *testing.T) {
	t.Parallel()
	c := start(t, 1, 0)
	agent := c.node("node-1", "--log-checkpoint-interval", "1s")
	c.register("counting", "1.0.0", counting)
	pods := c.pods(1, func(r *api.CreatePodRequest) { r.PackName = "counting" })
	c.eventually("a checkpoint", func() error {
		var n int
		if err := c.db.QueryRow(c.t.Context(), "select count(*) from stark.log_checkpoints where jsonb_array_length(lines) > 20").Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return errors.New("none is stored")
		}
		return nil
	})
	agent.Kill()
	c.eventually("the node to be missed", func() error { return c.nodeIs("node-1", api.NodeSuspect) })
	notices, lines, last := 0, 0, -1
	for l, err := range c.Client.PodLogs(t.Context(), pods[0], client.LogOptions{Tail: new(-1)}) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Notice != "" {
			notices++
			continue
		}
		if n := number(l); last >= 0 && n != last+1 {
			t.Errorf("line %d comes after %d", n, last)
		}
		last = number(l)
		lines++
	}
	if notices != 1 || lines < 20 {
		t.Errorf("%d notices and %d lines", notices, lines)
	}
	c.node("node-1")
}
