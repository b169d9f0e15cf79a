package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// A real agent gets its new credential by itself, and its pods notice nothing. One
// whose credential is revoked is out until it is given a new token.
func TestACredentialIsRotatedUnderARunningPod(t *testing.T) {
	t.Parallel()
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	agent := c.node("worker")
	pod := c.running(1)[0]
	node := c.waitNode("worker", api.NodeOnline)
	before := c.credentials()
	if len(before) != 1 {
		t.Fatalf("credentials %v", before)
	}
	if err := c.Client.RotateNodeCredential(t.Context(), node.ID); err != nil {
		t.Fatal(err)
	}
	c.until("the new credential alone is good", func() bool {
		now := c.credentials()
		return len(now) == 1 && now[0] != before[0]
	})
	after, err := c.Client.GetPod(t.Context(), pod.ID)
	if err != nil || after.Status != api.PodRunning || after.Incarnation != pod.Incarnation {
		t.Errorf("the pod afterwards: %+v, %v", after, err)
	}
	agent.Kill()
	<-agent.Done()
	c.waitNode("worker", api.NodeSuspect)
	c.node("worker") // with what it has kept: its new credential
	if now := c.credentials(); len(now) != 1 {
		t.Errorf("credentials %v", now)
	}
	if err := c.Client.RevokeNodeCredential(t.Context(), node.ID); err != nil {
		t.Fatal(err)
	}
	c.waitNode("worker", api.NodeSuspect)
}

// credentials lists those that are good.
func (c *cluster) credentials() []string {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), c.Stack.DBURL)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = conn.Close(c.t.Context()) }()
	rows, err := conn.Query(c.t.Context(), `select id::text from stark.node_credentials where revoked_at is null`)
	if err != nil {
		c.t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		c.t.Fatal(err)
	}
	return ids
}

// An agent that is killed between the answer to its first registration and keeping its
// credential comes back as the same node, with one use of a join token in all.
func TestAnAgentIsKilledBeforeItHasHeardThatItIsRegistered(t *testing.T) {
	t.Parallel()
	c := start(t)
	line, err := harness.NewMangler(t.Context(), c.URL, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	answered := line.Withhold(wire.TypeRegister + wire.AckSuffix)
	agent, err := c.AgentAt(t.Context(), line.URL, "worker")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-answered: // so it is stored
	case <-time.After(patience):
		t.Fatalf("the node was not registered:\n%s", agent.Output())
	}
	agent.Kill()
	<-agent.Done()
	before := c.waitNode("worker", api.NodeSuspect)
	good := c.credentials()

	c.node("worker")
	pod := c.running(1)[0]
	if after := c.waitNode("worker", api.NodeOnline); after.ID != before.ID || pod.NodeID == nil || *pod.NodeID != before.ID {
		t.Errorf("the node came back as %s and has the pod %+v, was %s", after.ID, pod, before.ID)
	}
	if now := c.credentials(); len(good) != 1 || !slices.Equal(now, good) {
		t.Errorf("credentials %v, then %v", good, now)
	}
	tokens, err := c.Client.ListJoinTokens(t.Context())
	if err != nil || len(tokens) != 2 {
		t.Fatalf("tokens %+v, %v", tokens, err)
	}
	if tokens[0].State != api.TokenActive || tokens[1].State != api.TokenUsed {
		t.Errorf("of the token at the second start and that at the first: %s, %s", tokens[0].State, tokens[1].State)
	}
}
