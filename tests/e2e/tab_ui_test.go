package e2e

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
)

func never(r *api.CreatePodRequest) { r.RestartPolicy = api.RestartNever }

// showing registers a pack that shows something.
func showing(r *api.CreatePackRequest) {
	r.RuntimeTag = api.TagBrowser
	r.Metadata = map[string]any{api.MetadataUI: map[string]any{"height": 120}, api.MetadataRequiredCapabilities: []any{"ui"}}
}

// A pack draws in the page, in a frame that says whose it is, and reaches nothing around it.
func TestAPackShowsSomethingAndReachesNothing(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	tb.before(channel)
	var downloads atomic.Int64
	if err := chromedp.Listen(tb.ctx, func(ev any) {
		if _, ok := ev.(*browser.EventDownloadWillBegin); ok {
			downloads.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	tb.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
			Behavior: browser.SetDownloadBehaviorBehaviorDeny, EventsEnabled: new(true),
		})
		return err
	}))
	c := start(t)
	c.join(tb)
	node := c.nodeOf(tb)
	c.universal("greeter", greeter)
	bystander := c.pod("greeter")
	c.waitStatus(bystander.ID, api.PodRunning)
	c.pack(c.Client, "hostile-ui", showing)
	pod := c.pod("hostile-ui", never, func(r *api.CreatePodRequest) { r.Env = map[string]string{"SERVER": c.URL, "REMOTE": echo(t)} })
	p := c.waitPod(pod.ID, "to be ready, or to end", func(p api.Pod) bool { return p.Status == api.PodRunning || p.Status.Terminal() })
	tb.shown("#shows", "hostile-ui 1.0.0 · default")
	if size := eval[string](tb, `(() => { const b = document.querySelector('#shows iframe').getBoundingClientRect(); return (b.width > 200) + ' ' + Math.round(b.height); })()`); size != "true 120" {
		t.Errorf("wide and high: %s", size)
	}
	tb.accessible(axe(t), "with a pack that shows something")
	tb.shot("shown-by-a-pack")
	c.waitLine(pod.ID, "INFO got:") // it runs before it has tried all
	if _, _, err := c.Client.StopPod(t.Context(), pod.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(pod.ID, api.PodStopped)
	out := c.lines(pod.ID)
	for _, want := range []string{"INFO drawn: shown by a pack", "INFO origin: null", "INFO storage: kept", "INFO got: nothing"} {
		if !slices.Contains(out, want) {
			t.Errorf("the pod never said %q", want)
		}
	}
	if p.Status != api.PodRunning || t.Failed() {
		t.Errorf("the pod became %s: %s\n%s", p.Status, p.StatusMessage, strings.Join(out, "\n"))
	}
	tb.becomes(`document.getElementById('shows').hidden && !document.querySelector('#shows iframe')`)
	if now := c.nodeOf(tb); now.ID != node.ID || !strings.HasPrefix(eval[string](tb, `location.href`), c.URL+"/node") {
		t.Errorf("the node is %s, was %s, at %s", now.ID, node.ID, eval[string](tb, `location.href`))
	}
	tb.state("online")
	if targets, err := chromedp.Targets(tb.ctx); err != nil || slices.ContainsFunc(targets, func(i *target.Info) bool { return strings.Contains(i.URL, "taken") }) {
		t.Errorf("windows: %v, %v", targets, err)
	}
	if n := downloads.Load(); n > 0 {
		t.Errorf("%d downloads began", n)
	}
	tb.heardNothing()
	if p, err := c.Client.GetPod(t.Context(), bystander.ID); err != nil || p.Status != api.PodRunning || p.Incarnation != 1 || p.Restarts != 0 {
		t.Errorf("the bystander is %s, incarnation %d, restarts %d: %s, %v", p.Status, p.Incarnation, p.Restarts, p.StatusMessage, err)
	}
}

// One that never yields harms neither the page nor pods that show nothing.
func TestAPackThatShowsSomethingAndNeverYieldsEndsAlone(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	c.join(tb)
	c.universal("greeter", greeter)
	bystander := c.pod("greeter")
	c.waitStatus(bystander.ID, api.PodRunning)
	const forEver = `module.exports = ({ ready, root }) => { root.textContent = 'for ever'; ready(); for (;;); }`
	if _, err := c.Client.CreatePack(t.Context(), api.CreatePackRequest{
		Name: "loops", Version: "1.0.0", RuntimeTag: api.TagBrowser, Metadata: map[string]any{api.MetadataUI: true, "livenessSeconds": 2.0},
	}, bundle([]byte(forEver))); err != nil {
		t.Fatal(err)
	}
	stuck := c.pod("loops", never, func(r *api.CreatePodRequest) {
		r.Metadata, r.TerminationGracePeriodSeconds = map[string]any{"livenessSeconds": 0.0}, new(1)
	})
	c.waitStatus(stuck.ID, api.PodRunning)
	c.waitStatus(c.pod("greeter").ID, api.PodRunning) // its frame was made, or is answered for, while the other one is stuck
	if _, _, err := c.Client.StopPod(t.Context(), stuck.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(stuck.ID, api.PodStopped)
	watched := c.waitStatus(c.pod("loops", never).ID, api.PodFailed)
	if !strings.Contains(watched.StatusMessage, "stood still") {
		t.Errorf("the loop ended with %s: %s", watched.Reason, watched.StatusMessage)
	}
	tb.state("online")
	if p, err := c.Client.GetPod(t.Context(), bystander.ID); err != nil || p.Status != api.PodRunning || p.Incarnation != 1 {
		t.Errorf("the bystander is %s, incarnation %d: %s, %v", p.Status, p.Incarnation, p.StatusMessage, err)
	}
}

// One that speaks to the frames of other pods, as they come, keeps none of them from
// starting.
func TestAPackThatShowsSomethingCannotKeepOthersFromStarting(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	c.join(tb)
	const talks = `module.exports = async ({ ready, signal }) => {
		const speak = () => { for (let i = 0; i < top.length; i++) { top[i].postMessage('x', '*'); top[i].postMessage('', '*', [new MessageChannel().port1]); } };
		const c = new MessageChannel(); // faster than any timer
		c.port1.onmessage = () => { speak(); if (!signal.aborted) setTimeout(() => c.port2.postMessage('')); };
		c.port2.postMessage('');
		ready();
		await new Promise((done) => signal.addEventListener('abort', done));
	}`
	if _, err := c.Client.CreatePack(t.Context(), api.CreatePackRequest{
		Name: "talks", Version: "1.0.0", RuntimeTag: api.TagBrowser, Metadata: map[string]any{api.MetadataUI: true},
	}, bundle([]byte(talks))); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(c.pod("talks").ID, api.PodRunning)
	c.universal("greeter", greeter)
	for range 3 { // the first one has a frame that is older than the talker
		c.waitStatus(c.pod("greeter").ID, api.PodRunning)
	}
}
