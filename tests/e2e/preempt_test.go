package e2e

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
)

// classed makes a priority class.
func (c *cluster) classed(name string, value int32) {
	c.t.Helper()
	if _, err := c.Client.CreatePriorityClass(c.t.Context(), api.PriorityClass{Name: name, Value: value}); err != nil {
		c.t.Fatal(err)
	}
}

// sized is a pod that asks for so much of a node's cpu.
func sized(class string, cpu api.Millicores) func(*api.CreatePodRequest) {
	return func(r *api.CreatePodRequest) {
		r.PriorityClassName = class
		r.ResourceRequests = &api.ResourceInput{CPU: &cpu, Memory: new(api.Mebibytes(16))}
		r.ResourceLimits = &api.ResourceInput{CPU: &cpu}
		r.TerminationGracePeriodSeconds = new(30)
	}
}

// ofNodes has each node offer so much, whatever the machine has.
func (c *cluster) ofNodes(cpu api.Millicores, names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.node(name, "--cpu", cpu.String(), "--memory", "2Gi")
	}
}

// A pod that matters more drives out one that matters less, and no more than that: the
// victim stops in peace, says for whom, and runs again when there is room.
func TestAVictimStopsInPeaceAndThePreemptorGetsItsRoom(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.ofNodes(1000, "worker")
	node := c.waitNode("worker", api.NodeOnline)
	c.classed("urgent", 1000)
	c.pack(c.Client, "steady")
	small := c.waitStatus(c.pod("steady", sized("", 400)).ID, api.PodRunning)
	large := c.waitStatus(c.pod("steady", sized("", 600)).ID, api.PodRunning)

	urgent := c.pod("steady", sized("urgent", 500))
	won := c.waitStatus(urgent.ID, api.PodRunning)
	if won.NodeID == nil || *won.NodeID != node.ID || won.NominatedNodeID != "" {
		t.Errorf("the preemptor is on %v, nominated to %q; want it on %s", won.NodeID, won.NominatedNodeID, node.ID)
	}
	back := c.waitPod(large.ID, "to wait again", func(p api.Pod) bool { return p.Status == api.PodPending && p.Incarnation == large.Incarnation+1 })
	if back.Eviction != nil {
		t.Errorf("the victim still has the order to leave: %+v", back.Eviction)
	}
	history, err := c.Client.PodHistory(t.Context(), large.ID, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(history, func(h api.PodHistoryEntry) bool {
		order, _ := h.Metadata["eviction"].(map[string]any)
		return h.Reason == api.ReasonPreempted && order["preemptor"] == urgent.ID
	}) {
		t.Errorf("the victim's history does not say for whom it left: %+v", history)
	}
	runs, err := c.Client.PodRuns(t.Context(), large.ID)
	if err != nil || len(runs) != 1 || runs[0].Status != api.RunExited || runs[0].Termination == nil || runs[0].Termination.Signal != "" {
		t.Errorf("the victim's runs are %+v, %v; want one that ended by itself when it was asked to", runs, err)
	}
	if p, err := c.Client.GetPod(t.Context(), small.ID); err != nil || p.Status != api.PodRunning || p.Incarnation != small.Incarnation || p.Restarts != 0 {
		t.Errorf("the pod that need not leave is %s in incarnation %d, %v", p.Status, p.Incarnation, err)
	}
	if _, _, err := c.Client.StopPod(t.Context(), urgent.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(large.ID, api.PodRunning)
	c.attempts(large.ID)
}

// A budget that allows nothing keeps its pods where they are, whoever waits; raised, it
// lets go as many as it says.
func TestPreemptionRespectsTheDisruptionBudget(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.ofNodes(1000, "worker")
	c.classed("urgent", 1000)
	c.pack(c.Client, "steady")
	if _, err := c.Client.CreateNamespace(t.Context(), api.CreateNamespaceRequest{Name: "kept", DisruptionBudget: &api.DisruptionBudget{}}); err != nil {
		t.Fatal(err)
	}
	kept := func(r *api.CreatePodRequest) { r.Namespace = "kept" }
	one := c.waitStatus(c.pod("steady", sized("", 500), kept).ID, api.PodRunning)
	two := c.waitStatus(c.pod("steady", sized("", 500), kept).ID, api.PodRunning)
	urgent := c.pod("steady", sized("urgent", 1000))
	waits := c.waitPod(urgent.ID, "to be told to wait", func(p api.Pod) bool { return p.Reason == api.ReasonWaitingForRoom })
	if waits.NominatedNodeID != "" {
		t.Errorf("the pod is nominated to %s, whose pods may not leave", waits.NominatedNodeID)
	}
	if _, err := c.Client.UpdateNamespace(t.Context(), "kept", api.UpdateNamespaceRequest{DisruptionBudget: &api.BudgetInput{MaxUnavailable: new(1)}}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []api.Pod{one, two} {
		if p, err := c.Client.GetPod(t.Context(), p.ID); err != nil || p.Status != api.PodRunning || p.Eviction != nil {
			t.Errorf("pod %s is %s, told to leave by %+v, %v; want it to stay: one alone would not help", p.ID, p.Status, p.Eviction, err)
		}
	}
	if _, err := c.Client.UpdateNamespace(t.Context(), "kept", api.UpdateNamespaceRequest{DisruptionBudget: &api.BudgetInput{MaxUnavailable: new(2)}}); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(urgent.ID, api.PodRunning)
}

// Thirty pods that matter come at once onto three nodes that are full: each gets its
// room, nobody is driven out twice or for nothing, and everything adds up.
func TestAStormOfPreemptors(t *testing.T) {
	t.Parallel()
	const each, storm = 1000, 30
	c := start(t)
	nodes := []string{"first", "second", "third"}
	c.ofNodes(each, nodes...)
	c.classed("urgent", 1000)
	c.pack(c.Client, "steady")
	var low []api.Pod
	for range 12 { // four on each node, of which every second has to leave
		low = append(low, c.pod("steady", sized("", 250)))
	}
	for i := range low {
		low[i] = c.waitStatus(low[i].ID, api.PodRunning)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var high []api.Pod
	for range storm {
		wg.Go(func() {
			p, err := c.Client.CreatePod(c.t.Context(), func() (r api.CreatePodRequest) {
				r.PackName = "steady"
				sized("urgent", 50)(&r)
				return r
			}())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				c.t.Error(err)
			}
			high = append(high, p)
		})
	}
	wg.Wait()
	for _, p := range high {
		c.waitStatus(p.ID, api.PodRunning)
		if n := c.attempts(p.ID); n != 1 {
			t.Errorf("preemptor %s had %d runs, want one", p.ID, n)
		}
	}
	left := 0
	for _, p := range low {
		now, err := c.Client.GetPod(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		// Who was driven out waits: what it left is taken, but for less than it needs.
		switch {
		case now.Incarnation == p.Incarnation && now.Status == api.PodRunning:
		case now.Incarnation == p.Incarnation+1:
			left++
		default:
			t.Errorf("pod %s is %s in incarnation %d, was in %d: driven out twice, or on its way", p.ID, now.Status, now.Incarnation, p.Incarnation)
		}
		c.attempts(p.ID)
	}
	// 30 of 50m are 1.5 cores, on nodes of four times 250m: two from each at the fewest.
	if left < 6 || left > 8 {
		t.Errorf("%d pods had to leave for 1.5 cores, of 250m each", left)
	}
	c.addsUp(each)
}

// addsUp compares what nodes and namespaces hold with their bounds and their pods.
func (c *cluster) addsUp(cpu int) {
	c.t.Helper()
	ctx := context.WithoutCancel(c.t.Context())
	conn, err := pgx.Connect(ctx, c.Stack.DBURL)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	const live = "p.status not in ('succeeded', 'stopped', 'failed', 'evicted')"
	var crowded, wrong int
	err = conn.QueryRow(ctx, `select count(*) from (select p.node_id from public.pods p where p.node_id is not null and `+live+`
		group by p.node_id having sum((p.resource_requests ->> 'cpu')::int) > $1) n`, cpu).Scan(&crowded)
	if err != nil {
		c.t.Fatal(err)
	}
	err = conn.QueryRow(ctx, `select count(*) from public.namespaces n where
		(n.resource_usage ->> 'pods')::int <> (select count(*) from public.pods p where p.namespace = n.name and `+live+`)
		or (n.resource_usage ->> 'cpu')::int <> (select coalesce(sum((p.resource_requests ->> 'cpu')::int), 0) from public.pods p where p.namespace = n.name and `+live+`)`).Scan(&wrong)
	if err != nil {
		c.t.Fatal(err)
	}
	if crowded > 0 || wrong > 0 {
		c.t.Errorf("%d nodes hold more than they have, %d namespaces count wrongly", crowded, wrong)
	}
}
