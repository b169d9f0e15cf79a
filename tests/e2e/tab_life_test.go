package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
)

// nodeOf gives the node that the tab is.
func (c *cluster) nodeOf(tb *tab) api.Node {
	c.t.Helper()
	return c.waitNode(eval[string](tb, `document.getElementById('node-name').textContent`), api.NodeOnline)
}

func (c *cluster) waitCondition(name, condition string, want bool) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	_, err := c.watch.WaitNode(ctx, name, "to say whether it is "+condition, func(n api.Node) bool {
		return slices.ContainsFunc(n.Conditions, func(c api.NodeCondition) bool { return c.Type == condition && c.Status == want })
	})
	if err != nil {
		c.t.Error(err)
	}
}

// window hides the window of the tab for real, as a desktop would.
func (tb *tab) window(state browser.WindowState) {
	tb.t.Helper()
	tb.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		w, err := cdp.Call(ctx, t, browser.GetWindowForTarget, browser.GetWindowForTargetParams{})
		if err != nil {
			return err
		}
		_, err = cdp.Call(ctx, t, browser.SetWindowBounds, browser.SetWindowBoundsParams{
			WindowID: w.WindowID, Bounds: &browser.Bounds{WindowState: state},
		})
		return err
	}))
}

// Two tabs of one profile are two nodes; each keeps its identity over a reload and a
// restart of the server.
func TestTabsKeepTheirIdentities(t *testing.T) {
	t.Parallel()
	first := profile(t)
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	c.join(first)
	second := first.sibling()
	c.join(second)
	a, b := c.nodeOf(first), c.nodeOf(second)
	if a.ID == b.ID {
		t.Fatal("two tabs are one node")
	}
	first.do(chromedp.Reload())
	first.state("online")
	second.do(chromedp.Reload())
	second.state("online")
	for tb, was := range map[*tab]api.Node{first: a, second: b} {
		if now := c.nodeOf(tb); now.ID != was.ID {
			t.Errorf("the node %s has become %s by a reload", was.ID, now.ID)
		}
	}
	// Who follows a link away has left, though the browser may keep the page.
	first.do(chromedp.Navigate("about:blank"))
	c.waitNode(a.Name, api.NodeOffline)
	first.do(chromedp.NavigateBack())
	first.state("online")
	if now := c.nodeOf(first); now.ID != a.ID {
		t.Errorf("the node %s has become %s by going away and back", a.ID, now.ID)
	}
	if err := c.Server.Stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	first.state("connecting")
	if err := c.StartServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.rewatch()
	for tb, was := range map[*tab]api.Node{first: a, second: b} {
		tb.state("online")
		if now := c.nodeOf(tb); now.ID != was.ID {
			t.Errorf("the node %s has become %s by a restart of the server", was.ID, now.ID)
		}
	}
}

// A tab that is hidden, and one that was frozen, goes on.
func TestATabInTheBackgroundGoesOn(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	c.join(tb)
	node := c.nodeOf(tb)
	tb.window(browser.WindowStateMinimized)
	tb.becomes(`document.hidden`)
	c.waitCondition(node.Name, api.ConditionHidden, true)
	c.universal("greeter", greeter)
	pod := c.pod("greeter")
	c.waitStatus(pod.ID, api.PodRunning)
	freeze := func(state string) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: page.SetWebLifecycleStateState(state)})
			return err
		})
	}
	tb.do(freeze("frozen"))
	tb.do(freeze("active"))
	tb.window(browser.WindowStateNormal)
	c.waitCondition(node.Name, api.ConditionHidden, false)
	tb.state("online")
	if p := c.waitStatus(pod.ID, api.PodRunning); p.NodeID == nil || *p.NodeID != node.ID {
		t.Errorf("the pod has left the tab: %+v", p)
	}
}

// A tab that crashes is found by its lease, and its pod goes on on a host.
func TestAPodMovesFromADyingTabToAHost(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	c.sql(t, `update public.cluster_config set heartbeat_interval_ms = 1000, heartbeat_timeout_ms = 4000, eviction_timeout_ms = 1000`)
	c.join(tb)
	node := c.nodeOf(tb)
	c.universal("greeter", greeter)
	pod := c.pod("greeter")
	if p := c.waitStatus(pod.ID, api.PodRunning); *p.NodeID != node.ID {
		t.Fatalf("the pod runs on %s", *p.NodeID)
	}
	c.node("host")
	host := c.waitNode("host", api.NodeOnline)
	go func() { _ = tb.try(chromedp.Navigate("chrome://crash")) }() // it never answers
	c.waitPod(pod.ID, "to run on the host", func(p api.Pod) bool {
		return p.Status == api.PodRunning && p.NodeID != nil && *p.NodeID == host.ID
	})
}
