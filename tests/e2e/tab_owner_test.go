package e2e

import (
	"context"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
)

// battery stands for that of a device: a headless browser has none.
const battery = `globalThis.battery = Object.assign(new EventTarget(), { charging: true });
navigator.getBattery = async () => battery;`

// before runs a script before every page of the tab.
func (tb *tab) before(script string) {
	tb.t.Helper()
	tb.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		return err
	}))
}

// waitNodeThat waits until a node is as asked for.
func (c *cluster) waitNodeThat(name, what string, ok func(api.Node) bool) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	if _, err := c.watch.WaitNode(ctx, name, what, ok); err != nil {
		c.t.Fatal(err)
	}
}

// What the owner lends counts at once, and is taken back at once; the node keeps its id.
func TestTheOwnerDecidesWhatIsLent(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	tb.before(battery)
	c := start(t)
	c.join(tb)
	node := c.nodeOf(tb)
	c.waitCondition(node.Name, api.ConditionOnBattery, false)
	eval[any](tb, `battery.charging = false; battery.dispatchEvent(new Event('chargingchange'))`)
	c.waitCondition(node.Name, api.ConditionOnBattery, true)
	c.universal("greeter", greeter)
	pod := c.pod("greeter", never)
	c.waitStatus(pod.ID, api.PodRunning)
	set := func(change string) {
		tb.press("#node summary")
		eval[any](tb, `(() => { const of = (cap) => document.querySelector('#caps-form [data-cap=' + cap + ']'); `+change+` })()`)
		tb.press("#caps-form button")
		tb.press("#node summary")
	}
	set(`of('memory').value = 384`)
	c.waitNodeThat(node.Name, "to lend less", func(n api.Node) bool {
		return n.Status == api.NodeOnline && n.Allocatable.Memory == 384 && n.ID == node.ID
	})
	c.waitPod(pod.ID, "to have left", func(p api.Pod) bool { return p.Status.Terminal() || p.Incarnation > pod.Incarnation })
	tb.state("online")
	set(`of('visible').checked = true`)
	tb.state("online")
	second := c.pod("greeter")
	c.waitStatus(second.ID, api.PodRunning)
	tb.window(browser.WindowStateMinimized)
	tb.state("paused")
	c.waitNode(node.Name, api.NodeOffline)
	c.waitPod(second.ID, "to wait for another node", func(p api.Pod) bool { return p.Status == api.PodPending })
	tb.window(browser.WindowStateNormal)
	tb.state("online")
	if n := c.nodeOf(tb); n.ID != node.ID {
		t.Errorf("the node %s has become %s", node.ID, n.ID)
	}
	c.waitStatus(second.ID, api.PodRunning)
}

// deaf is an agent that does not hear that it shall stop, as one would be that a pack keeps
// from it.
const deaf = `{
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (m, ...more) { if (m?.t !== 'pause') return post.call(this, m, ...more); };
}`

// The owner takes back what was lent even from an agent that does not answer any more.
func TestTheOwnerTakesBackWhatADeafAgentHolds(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	tb.before(deaf)
	c := start(t)
	c.join(tb)
	node := c.nodeOf(tb)
	c.universal("greeter", greeter)
	pod := c.pod("greeter")
	c.waitStatus(pod.ID, api.PodRunning)
	tb.press("#leave")
	tb.state("broken")
	c.waitNode(node.Name, api.NodeOffline)
	c.waitPod(pod.ID, "to wait for another node", func(p api.Pod) bool { return p.Status == api.PodPending })
	if n := eval[int](tb, `document.querySelectorAll('iframe').length`); n != 0 {
		t.Errorf("%d frames of pods are there", n)
	}
	tb.do(chromedp.Reload())
	tb.state("asking")
}

// A token that has expired lets nobody in, one that was revoked puts the tab out, and a
// new one brings it back.
func TestTokensOfTabsEnd(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	c.hasty()
	token := c.invite()
	c.sql(t, `update stark.join_tokens set expires_at = now() - interval '1 minute'`)
	tb.do(chromedp.Navigate(c.URL + "/node#" + token))
	tb.state("asking")
	tb.press("#join-form button.main")
	tb.shown("#problem", "token")
	tb.state("asking")
	many, err := c.Client.CreateJoinToken(t.Context(), api.CreateJoinTokenRequest{Uses: 2}) // still good when its node is let out
	if err != nil {
		t.Fatal(err)
	}
	tb.do(chromedp.SendKeys("#token", many.Token))
	tb.press("#join-form button.main")
	tb.state("online")
	node := c.nodeOf(tb)
	c.universal("greeter", greeter)
	pod := c.pod("greeter")
	c.waitStatus(pod.ID, api.PodRunning)
	if err := c.Client.RevokeNodeCredential(t.Context(), node.ID); err != nil {
		t.Fatal(err)
	}
	tb.state("asking")
	tb.shown("#problem", "the node credential is unknown or revoked")
	c.waitNode(node.Name, api.NodeUnhealthy) // until then its name is taken
	tb.do(chromedp.SendKeys("#token", c.invite()))
	tb.press("#join-form button.main")
	tb.state("online")
	c.nodeOf(tb)
}

// Twenty tabs of one profile are twenty nodes, each with an identity and a pod of its own.
func TestTwentyTabsAreTwentyNodes(t *testing.T) {
	t.Parallel()
	const many = 20
	base, _ := ownBrowser(t)
	c := start(t)
	token, err := c.Client.CreateJoinToken(t.Context(), api.CreateJoinTokenRequest{Uses: many})
	if err != nil {
		t.Fatal(err)
	}
	tabs := make([]*tab, many)
	for i := range tabs {
		tabs[i] = base.sibling()
		tabs[i].do(chromedp.Navigate(c.URL + "/node#" + token.Token))
		tabs[i].state("asking")
		tabs[i].press("#join-form button.main")
	}
	nodes := map[string]bool{}
	for _, tb := range tabs {
		tb.state("online")
		nodes[c.nodeOf(tb).ID] = true
	}
	if len(nodes) != many {
		t.Fatalf("%d tabs are %d nodes", many, len(nodes))
	}
	c.universal("greeter", greeter)
	cores := eval[int](base.sibling(), `Math.max(1, Math.floor(navigator.hardwareConcurrency / 2))`)
	whole := api.Millicores(cores * 1000)
	var pods []api.Pod
	for range many {
		pods = append(pods, c.pod("greeter", func(r *api.CreatePodRequest) {
			r.ResourceRequests, r.ResourceLimits = &api.ResourceInput{CPU: &whole}, &api.ResourceInput{CPU: &whole}
		}))
	}
	used := map[string]bool{}
	for _, p := range pods {
		used[*c.waitStatus(p.ID, api.PodRunning).NodeID] = true
	}
	if len(used) != many {
		t.Errorf("the pods run on %d nodes", len(used))
	}
}
