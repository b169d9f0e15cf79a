package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// ownBrowser gives a tab of a browser that no other test uses, and its first process.
func ownBrowser(t *testing.T) (*tab, int) {
	t.Helper()
	if _, err := harness.Chromium(); err != nil {
		t.Skip(err)
	}
	ctx, stop, err := harness.Browse(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return newTab(ctx, t), chromedp.FromContext(ctx).Browser.Process().Pid
}

// family gives a process and all below it.
func family(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Skip("this system has no /proc: browsers cannot be put to sleep")
	}
	children := map[int][]int{}
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
			t.Fatal(err)
		}
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		children[parent] = append(children[parent], child)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// A laptop sleeps, for a minute with -long: the node is lost, comes back as it was, and
// says that its timers were late.
func TestATabOnALaptopThatSleeps(t *testing.T) {
	t.Parallel()
	tb, pid := ownBrowser(t)
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	c.hasty()
	c.join(tb)
	node := c.nodeOf(tb)
	c.universal("greeter", greeter)
	pod := c.pod("greeter")
	c.waitStatus(pod.ID, api.PodRunning)
	asleep := family(t, pid)
	signal := func(s syscall.Signal) {
		for _, p := range asleep {
			_ = syscall.Kill(p, s) // one may have ended meanwhile
		}
	}
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	c.waitNode(node.Name, api.NodeUnhealthy)
	c.waitStatus(pod.ID, api.PodUnknown)
	if *long {
		time.Sleep(time.Minute)
	}
	signal(syscall.SIGCONT)
	c.waitNode(node.Name, api.NodeOnline)
	c.waitCondition(node.Name, api.ConditionThrottled, true)
	after := c.waitStatus(pod.ID, api.PodRunning)
	if now := c.nodeOf(tb); now.ID != node.ID || after.Incarnation != pod.Incarnation || c.attempts(pod.ID) != 1 {
		t.Errorf("the node was %s, is %s; the pod is %+v", node.ID, now.ID, after)
	}
}

// A window is minimized for ten minutes, by a browser that throttles as it does on
// desktops: the node stays online without a gap.
func TestATabThatIsHiddenForLong(t *testing.T) {
	if !*long {
		t.Skip("it takes ten minutes: -long")
	}
	t.Parallel()
	tb, _ := ownBrowser(t)
	c := start(t)
	c.join(tb)
	node := c.nodeOf(tb)
	c.universal("ticks", `module.exports = async ({ log, ready, signal }) => { ready(); let n = 0;
		const t = setInterval(() => log.info('tick ' + ++n), 10_000);
		await new Promise((done) => signal.addEventListener('abort', done)); clearInterval(t); }`)
	pod := c.pod("ticks")
	c.waitStatus(pod.ID, api.PodRunning)
	tb.window(browser.WindowStateMinimized)
	c.waitCondition(node.Name, api.ConditionHidden, true)
	ctx, stop := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer stop()
	if n, err := c.watch.WaitNode(ctx, node.Name, "to leave online", func(n api.Node) bool { return n.Status != api.NodeOnline }); err == nil {
		t.Errorf("the node became %s", n.Status)
	}
	late := c.pod("ticks")
	c.waitStatus(late.ID, api.PodRunning)
	p, err := c.Client.GetPod(t.Context(), pod.ID)
	if err != nil || p.Status != api.PodRunning || p.Restarts != 0 {
		t.Errorf("the pod is %+v, %v", p, err)
	}
	if n := len(c.lines(pod.ID)); n < 55 {
		t.Errorf("the pod ticked %d times in ten minutes, want 60", n)
	}
	tb.window(browser.WindowStateNormal)
	c.waitCondition(node.Name, api.ConditionHidden, false)
	tb.state("online")
}
