package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
)

// app is a web application of another site, with a policy of its own that lets nothing
// in but what the documentation asks for.
type app struct {
	address string // by another name than the server's, so that it is another site
	tokens  atomic.Int64
}

// application serves the worked example of the documentation.
func application(t *testing.T, server func() string, token func() string) *app {
	t.Helper()
	a := &app{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Security-Policy", fmt.Sprintf(
				"default-src 'none'; script-src 'nonce-abc' %[1]s; frame-src %[1]s; connect-src 'self'; require-trusted-types-for 'script'", server()))
			fmt.Fprintf(w, `<!doctype html><html lang="en"><title>An application</title><h1>An application</h1>
<script nonce="abc" type="module">
addEventListener('securitypolicyviolation', (e) => { (globalThis.violations ??= []).push(e.violatedDirective + ' ' + e.blockedURI); });
import(%q).then(({ contribute }) => {
  globalThis.node = contribute({
    token: () => fetch('/token', { method: 'POST' }).then((r) => r.text()),
    namespaces: ['apps'], labels: { app: 'shop' }, cores: 1, memory: 256,
  });
});
</script></html>`, server()+"/node/embed.js")
		case "/token":
			a.tokens.Add(1)
			fmt.Fprint(w, token())
		}
	}))
	t.Cleanup(srv.Close)
	a.address = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	return a
}

// frame gives the frame of an address in the page, as soon as it is there. Pods of the
// same server have frames too.
func (tb *tab) frame(address string) *tab {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, patience)
	defer stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		targets, err := chromedp.Targets(ctx)
		if err != nil {
			tb.t.Fatal(err)
		}
		for _, i := range targets {
			if i.Type == "iframe" && i.URL == address {
				return newTab(tb.ctx, tb.t, chromedp.WithTargetID(i.TargetID), chromedp.WithDetachOnCancel())
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.t.Fatalf("there is no frame of %s", address)
		}
	}
}

// becomes waits until an expression of the page is true.
func (tb *tab) becomes(expression string) {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, patience)
	defer stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression)); err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.t.Fatalf("never true: %s; the node is %s", expression, eval[string](tb, `JSON.stringify(globalThis.node ?? null)`))
		}
	}
}

// Users of another web application lend their tabs to a namespace, once they have agreed.
func TestAnApplicationAsksItsUsersForTheirTabs(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	var c *cluster
	var token func() string
	a := application(t, func() string { return c.URL }, func() string { return token() })
	c = start(t, "STARK_EMBED_ORIGINS="+a.address)
	dev, session := c.user("dev@example.com", api.RoleDeveloper)
	if _, err := c.Client.CreateNamespace(t.Context(), api.CreateNamespaceRequest{Name: "apps"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.SetMember(t.Context(), "apps", session.User.ID, api.RoleDeveloper); err != nil {
		t.Fatal(err)
	}
	token = func() string {
		jt, err := dev.CreateJoinToken(context.WithoutCancel(t.Context()), api.CreateJoinTokenRequest{})
		if err != nil {
			t.Error(err)
			return ""
		}
		return jt.Token
	}
	tb.do(chromedp.Navigate(a.address))
	tb.becomes(`node.state === 'asking'`)
	if a.tokens.Load() != 0 {
		t.Error("a token was asked for before the user agreed")
	}
	inside := tb.frame(c.URL + "/node/embed")
	if text := eval[string](inside, `document.getElementById('join').innerText`); !strings.Contains(text, a.address+" asks you for this") {
		t.Errorf("the user is not told who asks: %s", text)
	}
	inside.accessible(axe(t), "asking in a frame")
	tb.shot("embedded-asking")
	inside.press("#join-form button.main")
	tb.becomes(`node.state === 'online' && node.nodeId !== ''`)
	n := c.waitNode(eval[string](tb, `node.nodeName`), api.NodeOnline)
	if len(n.Namespaces) != 1 || n.Namespaces[0] != "apps" || n.Labels["app"] != "shop" || n.Annotations["stark.io/embedded-by"] != a.address {
		t.Errorf("the node serves %v, labels %v, annotations %v", n.Namespaces, n.Labels, n.Annotations)
	}
	c.universal("greeter", greeter)
	inApps := func(r *api.CreatePodRequest) { r.Namespace = "apps" }
	pod := c.pod("greeter", inApps)
	c.waitStatus(pod.ID, api.PodRunning)
	if other := c.pod("greeter"); c.waitPod(other.ID, "to be told that no node serves it", func(p api.Pod) bool { return p.Reason == api.ReasonUnschedulable }).NodeID != nil {
		t.Error("the tab runs pods of another namespace")
	}
	tb.becomes(`node.pods === 1`)
	tb.shot("embedded-online")
	if eval[bool](tb, `node.frame.contentDocument !== null`) {
		t.Error("the application reaches the node's page")
	}
	if v := eval[string](tb, `(globalThis.violations ?? []).join(', ')`); v != "" {
		t.Errorf("its own policy refuses %s", v)
	}
	// It is remembered, for this site alone.
	tb.do(chromedp.Reload())
	tb.becomes(`globalThis.node?.state === 'online'`)
	if again := eval[string](tb, `node.nodeId`); again != n.ID || a.tokens.Load() != 1 {
		t.Errorf("after a reload the node is %s, was %s; %d tokens", again, n.ID, a.tokens.Load())
	}
	// What the user has paused, the application does not resume.
	inside = tb.frame(c.URL + "/node/embed")
	inside.press("#pause")
	tb.becomes(`node.state === 'paused'`)
	eval[any](tb, `node.resume()`)
	inside.press("#resume")
	tb.becomes(`node.state === 'online'`)
	eval[any](tb, `node.pause()`)
	tb.becomes(`node.state === 'paused'`)
	eval[any](tb, `node.resume()`)
	tb.becomes(`node.state === 'online'`)
	eval[any](tb, `node.leave()`)
	tb.becomes(`node.state === 'asking'`)
	c.waitNode(n.Name, api.NodeOffline)
	eval[any](inside, `void setTimeout(() => document.getElementById('decline').click())`) // the frame goes, with who would say that it was pressed
	tb.becomes(`node.state === 'declined' && !document.querySelector('iframe')`)
}

// A site that the server does not name gets nothing, and is told so.
func TestAForeignSiteCannotEmbedTheNode(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	var c *cluster
	a := application(t, func() string { return c.URL }, func() string { return "none" })
	c = start(t, "STARK_EMBED_ORIGINS=https://app.example.com")
	tb.do(chromedp.Navigate(a.address))
	tb.becomes(`node.state === 'broken' && node.message.includes('does not let')`)
	if a.tokens.Load() != 0 {
		t.Error("a token was asked for")
	}
}
