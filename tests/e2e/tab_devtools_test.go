package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
)

// What the browser's own tools make of a tab's network.
var (
	slow3G     = network.Conditions{Latency: 2000, DownloadThroughput: 50_000, UploadThroughput: 50_000} // as the tools define it
	noNetwork  = network.Conditions{Offline: true, DownloadThroughput: -1, UploadThroughput: -1}
	anyNetwork = network.Conditions{DownloadThroughput: -1, UploadThroughput: -1}
)

// byRule says of the whole whether there is a network too, without which Chromium up to 148
// refuses it; later ones ask each condition.
type byRule struct {
	Offline    bool                  `json:"offline"`
	Conditions []*network.Conditions `json:"matchedNetworkConditions"`
}

var emulateByRule = cdp.Command[byRule, network.EmulateNetworkConditionsByRuleResult]{Method: network.CommandEmulateNetworkConditionsByRule}

// workers gives the agent's worker, which the tools drive apart from its page, once the
// page has started it.
func (tb *tab) workers() <-chan *tab {
	tb.t.Helper()
	found := make(chan *tab, 1)
	err := chromedp.Listen(tb.ctx, func(ev any) {
		e, ok := ev.(*target.EventAttachedToTarget)
		if !ok || e.TargetInfo.Type != "worker" || !strings.Contains(e.TargetInfo.URL, "/node/assets/agent.") {
			return
		}
		go func() {
			found <- newTab(tb.ctx, tb.t, chromedp.WithTargetID(e.TargetInfo.TargetID), chromedp.WithDetachOnCancel())
		}()
	})
	if err != nil {
		tb.t.Fatal(err)
	}
	return found
}

// over gives the target a network.
func (tb *tab) over(n network.Conditions) {
	tb.t.Helper()
	tb.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulateByRule, byRule{Offline: n.Offline, Conditions: []*network.Conditions{&n}})
		return err
	}))
}

// The browser's own tools slow the network of a tab down, and take it away, for a minute
// with -long: the node is lost and comes back as it was, and its pods have gone on.
func TestATabOnASlowNetworkAndWithoutOne(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	workers := tb.workers()
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	c.join(tb)
	agent := <-workers
	node := c.nodeOf(tb)
	all := func(n network.Conditions) { tb.over(n); agent.over(n) }
	all(slow3G)
	c.universal("ticks", `module.exports = async ({ log, ready, signal }) => { ready(); let n = 0;
		const t = setInterval(() => log.info('tick ' + ++n), 100);
		await new Promise((done) => signal.addEventListener('abort', done)); clearInterval(t); log.info('bye'); }`)
	pod := c.pod("ticks")
	c.waitStatus(pod.ID, api.PodRunning)
	c.waitLine(pod.ID, "INFO tick 3")
	if n := c.nodeOf(tb); n.ID != node.ID {
		t.Errorf("the node %s has become %s by a slow network", node.ID, n.ID)
	}
	c.hasty()
	all(noNetwork)
	c.waitNode(node.Name, api.NodeUnhealthy)
	c.waitStatus(pod.ID, api.PodUnknown)
	tb.state("connecting")
	tb.shown("#runs", "ticks")
	if *long {
		time.Sleep(time.Minute)
	}
	all(slow3G)
	tb.state("online")
	c.waitNode(node.Name, api.NodeOnline)
	after := c.waitStatus(pod.ID, api.PodRunning)
	if now := c.nodeOf(tb); now.ID != node.ID || after.Incarnation != pod.Incarnation || c.attempts(pod.ID) != 1 {
		t.Errorf("the node was %s, is %s; the pod is %+v", node.ID, now.ID, after)
	}
	all(anyNetwork)
	if _, _, err := c.Client.StopPod(t.Context(), pod.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(pod.ID, api.PodStopped)
	if said := c.lines(pod.ID); said[len(said)-1] != "INFO bye" {
		t.Errorf("the pod ends with %q", said[len(said)-1])
	}
}
