package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
)

func (c *cluster) invite() string {
	c.t.Helper()
	token, err := c.Client.CreateJoinToken(c.t.Context(), api.CreateJoinTokenRequest{})
	if err != nil {
		c.t.Fatal(err)
	}
	return token.Token
}

// universal registers a pack of both runtimes from its code.
func (c *cluster) universal(name, code string) {
	c.t.Helper()
	_, err := c.Client.CreatePack(c.t.Context(), api.CreatePackRequest{Name: name, Version: "1.0.0", RuntimeTag: api.TagUniversal}, bundle([]byte(code)))
	if err != nil {
		c.t.Fatal(err)
	}
}

const greeter = `module.exports = async ({ pod, log, ready, signal }) => {
  log.info("hello from " + pod.runtime);
  ready();
  await new Promise((done) => signal.addEventListener("abort", done));
  log.info("bye");
};`

// A link makes a tab a node: it runs, logs and stops a pod, and leaves when it is closed.
func TestATabIsANode(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	c.join(tb)
	name := eval[string](tb, `document.getElementById('node-name').textContent`)
	node := c.waitNode(name, api.NodeOnline)
	if node.RuntimeType != api.RuntimeBrowser {
		t.Errorf("the node is of runtime %s", node.RuntimeType)
	}
	if hash := eval[string](tb, `location.href`); strings.Contains(hash, "#") {
		t.Errorf("the token is still in the address: %s", hash)
	}
	c.universal("greeter", greeter)
	pod := c.pod("greeter")
	c.waitStatus(pod.ID, api.PodRunning)
	if _, _, err := c.Client.StopPod(t.Context(), pod.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(pod.ID, api.PodStopped)
	// Another tab of the profile is nobody's node, and never this one.
	other := tb.sibling()
	other.do(chromedp.Navigate(c.URL + "/node"))
	other.state("asking")
	// A closed tab takes its leave.
	tb.close()
	c.waitNode(name, api.NodeOffline)
}
