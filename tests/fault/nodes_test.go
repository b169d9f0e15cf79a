package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/relaytest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// Messages between servers and agents that come twice, in another order or late start
// nothing twice and lose nothing.
func TestMangledMessages(t *testing.T) {
	t.Parallel()
	c := bare(t, 2)
	m, err := harness.NewMangler(t.Context(), c.URL, 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	for i := range 3 {
		c.nodeAt(m.URL, fmt.Sprintf("node-%d", i+1))
	}
	m.Mangle(true)
	ids := c.pods(30)
	c.all(ids)
	c.delete(ids[:10])
	c.settled()
	m.Mangle(false)
	c.all(ids[10:])
	c.wereStarted(1, ids...)
	if twice, swapped, late := m.Counts(); twice == 0 || swapped == 0 || late == 0 {
		t.Errorf("nothing was mangled: %d twice, %d swapped, %d late", twice, swapped, late)
	}
}

// A node whose line is dead, with sockets that nobody closes, is found silent; its pods
// are told of as unknown, then placed elsewhere once; and when the line is back, what
// still ran there is ended.
func TestADeadLine(t *testing.T) {
	t.Parallel()
	c := bare(t, 2, brisk)
	line, err := relaytest.New(t.Context(), relaytest.To(strings.TrimPrefix(c.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	c.giveUpAfter(busy, 2*time.Second)
	c.nodeAt("http://"+line.Addr(), "far")
	ids := c.pods(4)
	c.all(ids)
	c.node("near")
	line.Freeze()
	c.eventually("the pods to be placed elsewhere", func() error {
		var left int
		err := c.db.QueryRow(t.Context(), `select count(*) from public.pods p left join public.nodes n on n.id = p.node_id
			where p.status <> 'running' or n.name <> 'near' or p.incarnation <> 2`).Scan(&left)
		if err == nil && left > 0 {
			err = fmt.Errorf("%d are not", left)
		}
		return err
	})
	line.Thaw()
	c.eventually("the node to be back", func() error { return c.nodeIs("far", api.NodeOnline) })
	c.all(ids)
	c.wereStarted(2, ids...)
	c.once(api.ReasonNodeLost, ids)
}

// once checks that the history of each pod tells of a reason once.
func (c *cluster) once(reason string, ids []string) {
	c.t.Helper()
	for _, id := range ids {
		var n int
		err := c.db.QueryRow(c.t.Context(), "select count(*) from public.pod_history where pod_id = $1 and new_status = 'pending' and reason = $2", id, reason).Scan(&n)
		if err != nil || n != 1 {
			c.t.Errorf("the history of pod %s tells %d times of %s (%v)", id, n, reason, err)
		}
	}
}

// brisk is the setting of servers whose agents beat every second.
const brisk = "STARK_HEARTBEAT_INTERVAL=1s"

// busy is how long a node may be silent where one that is only busy must not be given up.
const busy = 12 * time.Second

// giveUpAfter sets after how much silence a node is unhealthy, and after how much more
// its pods are placed elsewhere.
func (c *cluster) giveUpAfter(heartbeat, eviction time.Duration) {
	c.t.Helper()
	if _, err := c.db.Exec(c.t.Context(), `update public.cluster_config
		set heartbeat_interval_ms = 1000, heartbeat_timeout_ms = $1, eviction_timeout_ms = $2`, heartbeat.Milliseconds(), eviction.Milliseconds()); err != nil {
		c.t.Fatal(err)
	}
}

// A short cut of the line, of every node at once, touches no pod.
func TestAShortCut(t *testing.T) {
	t.Parallel()
	c := start(t, 2, 3)
	ids := c.pods(9)
	c.all(ids)
	for range 5 {
		c.Balancer.Relay().Cut()
	}
	c.Balancer.Relay().Refuse(true)
	c.eventually("a node to be suspect", func() error { return c.nodeIs("node-1", api.NodeSuspect) })
	c.Balancer.Relay().Refuse(false)
	for i := range 3 {
		c.eventually("the node to be back", func() error { return c.nodeIs(fmt.Sprintf("node-%d", i+1), api.NodeOnline) })
	}
	c.all(ids)
	c.wereStarted(1, ids...)
}

// While the store of bundles is away, pods wait and are told why; what runs, runs.
func TestTheBundleStoreIsDown(t *testing.T) {
	t.Parallel()
	c := bare(t, 1)
	line, err := relaytest.New(t.Context(), relaytest.To(strings.TrimPrefix(c.Stack.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	far, err := c.AddServer(t.Context(), "STARK_SUPABASE_PUBLIC_URL=http://"+line.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c.nodeAt(far.URL, "node-1")
	before := c.pods(1)
	c.all(before)
	line.Refuse(true)
	line.Cut()
	waits := c.pods(1, func(r *api.CreatePodRequest) { r.PackVersion = "2.0.0"; r.RestartPolicy = api.RestartAlways })
	c.eventually("the pod to tell why it waits", func() error {
		p, err := c.Client.GetPod(t.Context(), waits[0])
		if err == nil && (p.LastTermination == nil || p.LastTermination.Reason != api.ReasonBundleUnavailable) {
			err = fmt.Errorf("it is %s: %s, %+v", p.Status, p.Reason, p.LastTermination)
		}
		return err
	})
	line.Refuse(false)
	c.all(append(before, waits...))
	c.wereStarted(1, append(before, waits...)...)
}

// An agent whose disk is full starts nothing that it cannot write down, keeps what
// runs, and goes on when there is room.
func TestTheDiskOfTheAgentIsFull(t *testing.T) {
	t.Parallel()
	c := bare(t, 1)
	disk := tinyDisk(t)
	c.node("node-1", "--state-dir", filepath.Join(disk, "state"))
	before := c.pods(3)
	c.all(before)
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	during := c.pods(3, func(r *api.CreatePodRequest) { r.RestartPolicy = api.RestartAlways })
	c.delete(before[:1])
	c.eventually("the one to be stopped, and the others to be kept", func() error {
		var live []string
		for _, r := range c.counted() {
			if r.lives() {
				live = append(live, r.pod)
			}
		}
		if len(live) != 2 || slices.Contains(live, before[0]) {
			return fmt.Errorf("%v run", live)
		}
		return nil
	})
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.all(append(before[1:], during...))
	c.wereStarted(1, before...)
}

// An agent that is started on a full disk waits for room, and is the node again then.
func TestAnAgentStartsOnAFullDisk(t *testing.T) {
	t.Parallel()
	c := bare(t, 1)
	disk := tinyDisk(t)
	args := []string{"--state-dir", filepath.Join(disk, "state")}
	agent := c.node("node-1", args...)
	ids := c.pods(2, func(r *api.CreatePodRequest) { r.RestartPolicy = api.RestartAlways })
	c.all(ids)
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	agent.Kill()
	agent, err := c.AgentAt(t.Context(), c.URL, "node-1", append([]string{"--warm-pool", "0"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	c.eventually("the agent to say that it waits for room", func() error {
		select {
		case <-agent.Done():
			t.Fatalf("the agent has ended: %s", agent.Output())
		default:
		}
		if !strings.Contains(agent.Output(), "the disk is full") {
			return errors.New("it does not say so")
		}
		return nil
	})
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.all(ids)
}

// tinyDisk makes a file system that is soon full.
func tinyDisk(t *testing.T) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("stark-fault", disk, "tmpfs", 0, "size=4m"); errors.Is(err, syscall.EPERM) {
		t.Skip("a small file system can only be made by root")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	return disk
}

// fill writes until the disk takes no more.
func fill(tb testing.TB, path string) {
	tb.Helper()
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	_ = f.Close() // the disk is full: that is the point
}
