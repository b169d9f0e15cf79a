package fault

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/relaytest"
	"github.com/stark-orchestrator/stark/shared/api"
)

// network is a network namespace with a cable to this machine: the kernel of the node
// is told of nothing, packets just go nowhere while the cable is pulled.
type network struct {
	t     *testing.T
	name  string
	cable string // our end
	host  string // our address
}

var networks atomic.Int32

func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("networks can only be made by root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no ip command to make a network with")
	}
	id := fmt.Sprintf("%d-%d", os.Getpid()%100000, networks.Add(1))
	n := &network{t: t, name: "stark-" + id, cable: "st" + id, host: fmt.Sprintf("10.213.%d.1", networks.Load())}
	inside := strings.TrimSuffix(n.host, "1") + "2"
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", n.name).CombinedOutput(); err != nil {
		t.Skipf("this machine lets nobody make networks: %s", out)
	}
	t.Cleanup(func() {
		_ = exec.Command("ip", "netns", "del", n.name).Run() // the context of the test has ended
		_ = exec.Command("ip", "link", "del", n.cable).Run() // it has gone with the network, mostly
	})
	n.ip("link", "add", n.cable, "type", "veth", "peer", "name", "eth0", "netns", n.name)
	n.ip("addr", "add", n.host+"/30", "dev", n.cable)
	n.ip("link", "set", n.cable, "up")
	n.ip("-n", n.name, "addr", "add", inside+"/30", "dev", "eth0")
	n.ip("-n", n.name, "link", "set", "eth0", "up")
	n.ip("-n", n.name, "link", "set", "lo", "up")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.CommandContext(n.t.Context(), "ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (n *network) pull() { n.t.Helper(); n.ip("link", "set", n.cable, "down") }
func (n *network) plug() { n.t.Helper(); n.ip("link", "set", n.cable, "up") }

// door is where the network reaches something of this machine.
func (n *network) door(url string) string {
	n.t.Helper()
	r, err := relaytest.NewAt(n.t.Context(), n.host, relaytest.To(strings.TrimPrefix(url, "http://")))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = r.Close() })
	return "http://" + r.Addr()
}

// wired brings up a cluster with one node behind a cable and pods on it.
func wired(t *testing.T, env ...string) (*cluster, *network, []string) {
	t.Helper()
	n := newNetwork(t)
	c := bare(t, 1, env...)
	s, err := c.AddServer(t.Context(), append(env, "STARK_SUPABASE_PUBLIC_URL="+n.door(c.Stack.URL))...)
	if err != nil {
		t.Fatal(err)
	}
	under := []string{"ip", "netns", "exec", n.name}
	if _, err := c.AgentUnder(t.Context(), under, n.door(s.URL), "far", "--warm-pool", "0"); err != nil {
		t.Fatal(err)
	}
	c.eventually("the node", func() error { return c.nodeIs("far", api.NodeOnline) })
	ids := c.pods(3)
	c.all(ids)
	return c, n, ids
}

// A cable that is pulled for 10 s touches nothing.
func TestACableIsPulledForAMoment(t *testing.T) {
	t.Parallel()
	c, n, ids := wired(t)
	n.pull()
	time.Sleep(10 * time.Second) // that long is the case
	n.plug()
	c.all(append(ids, c.pods(1)...))
	c.wereStarted(1, ids...)
}

// A node that is silent for longer than a heartbeat's time is unhealthy, and its pods
// are unknown. When it is back before they are given up, they are what they were.
func TestACableIsPulledForSilence(t *testing.T) {
	t.Parallel()
	c, n, ids := wired(t, brisk)
	silence, total := 3*time.Second, time.Duration(0)
	if *long {
		silence, total = 30*time.Second, 40*time.Second
	}
	c.giveUpAfter(silence, time.Minute)
	began := time.Now()
	n.pull()
	c.eventually("the pods to be unknown", func() error { return c.areAll(ids, api.PodUnknown) })
	time.Sleep(time.Until(began.Add(total)))
	n.plug()
	c.all(append(ids, c.pods(1)...))
	c.wereStarted(1, ids...)
}

// A node that stays away loses its pods once; when it is back they run anew, and
// what it had kept running is ended.
func TestACableIsPulledForGood(t *testing.T) {
	t.Parallel()
	c, n, ids := wired(t, brisk)
	eviction, total := 2*time.Second, time.Duration(0)
	if *long {
		eviction, total = time.Minute, 5*time.Minute
	}
	c.giveUpAfter(busy, eviction)
	began := time.Now()
	n.pull()
	if err := within(t.Context(), eviction+patience, func() error { return c.areAll(ids, api.PodPending) }); err != nil {
		t.Fatalf("the pods are not given up: %v", err)
	}
	time.Sleep(time.Until(began.Add(total)))
	n.plug()
	c.all(ids)
	c.wereStarted(2, ids...)
	c.once(api.ReasonNodeLost, ids)
}

func (c *cluster) areAll(ids []string, want api.PodStatus) error {
	var n int
	err := c.db.QueryRow(c.t.Context(), "select count(*) from public.pods where id::text = any ($1) and status::text = $2", ids, string(want)).Scan(&n)
	if err == nil && n != len(ids) {
		err = fmt.Errorf("%d of %d are %s", n, len(ids), want)
	}
	return err
}
