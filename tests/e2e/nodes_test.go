package e2e

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A node that ends for good gives its pods to the others, once.
func TestPodsOfALostNodeMoveToAnotherExactlyOnce(t *testing.T) {
	t.Parallel()
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	// A node that is only busy is not lost.
	c.sql(t, `update public.cluster_config set heartbeat_interval_ms = 1000, heartbeat_timeout_ms = 12000, eviction_timeout_ms = 1000`)
	first := c.node("first")
	pods := c.running(2)
	c.node("second")
	first.Kill()
	c.waitNode("first", api.NodeSuspect)
	second := c.waitNode("second", api.NodeOnline)
	for _, p := range pods {
		moved := c.waitPod(p.ID, "to run on the other node", func(p api.Pod) bool {
			return p.Status == api.PodRunning && p.NodeID != nil && *p.NodeID == second.ID
		})
		if moved.Incarnation != p.Incarnation+1 {
			t.Errorf("pod %s is at incarnation %d, was %d", p.ID, moved.Incarnation, p.Incarnation)
		}
		c.attempts(p.ID)
	}
}

func TestACordonedNodeTakesNoPodAndTheVerdictSaysSo(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	node := c.waitNode("worker", api.NodeOnline)
	c.pack(c.Client, "steady")
	if _, err := c.Client.UpdateNode(t.Context(), node.ID, api.UpdateNodeRequest{Unschedulable: new(true)}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if _, err := c.watch.WaitNode(ctx, "worker", "to be cordoned", func(n api.Node) bool { return n.Unschedulable }); err != nil {
		t.Fatal(err)
	}
	pod := c.pod("steady")
	p := c.waitPod(pod.ID, "to be told why it waits", func(p api.Pod) bool { return p.Reason == api.ReasonUnschedulable })
	v, err := c.Client.ExplainPod(t.Context(), pod.ID)
	if err != nil || v == nil || len(v.Nodes) != 1 || v.Nodes[0].NodeName != "worker" {
		t.Errorf("verdict %+v, %v; the pod says %q", v, err, p.StatusMessage)
	}
	if _, err := c.Client.UpdateNode(t.Context(), node.ID, api.UpdateNodeRequest{Unschedulable: new(false)}); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(pod.ID, api.PodRunning)
}

func TestAForeignAgentCannotTakeANodesName(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	dev, _ := c.user("dev@example.com", api.RoleDeveloper)
	_, err := dev.CreateNode(t.Context(), api.RegisterNodeRequest{Name: "worker", RuntimeType: api.RuntimeNode})
	if code := fault.CodeOf(err); code != fault.Conflict {
		t.Errorf("%v, want %s", err, fault.Conflict)
	}
}

// sql changes what no API changes yet.
func (c *cluster) sql(t *testing.T, statement string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, c.Stack.DBURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}
