package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// fox is one tab of a Firefox of the test's own.
type fox struct {
	t   *testing.T
	f   *harness.Firefox
	tab string
}

func openFirefox(t *testing.T) *fox {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	f, err := harness.StartFirefox(ctx)
	if errors.Is(err, harness.ErrNoFirefox) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	x := &fox{t: t, f: f}
	x.do(func(ctx context.Context) (err error) { x.tab, err = f.Open(ctx); return err })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Firefox's console:\n%s", strings.Join(f.Console(), "\n"))
		}
	})
	return x
}

func (x *fox) do(step func(ctx context.Context) error) {
	x.t.Helper()
	ctx, stop := context.WithTimeout(context.WithoutCancel(x.t.Context()), patience)
	defer stop()
	if err := step(ctx); err != nil {
		x.t.Fatal(err)
	}
}

func (x *fox) eval(expression string) (v string) {
	x.t.Helper()
	x.do(func(ctx context.Context) (err error) { v, err = x.f.Eval(ctx, x.tab, expression); return err })
	return v
}

// becomes waits until an expression of the page has a value.
func (x *fox) becomes(expression, want string) {
	x.t.Helper()
	x.do(func(ctx context.Context) error {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			got, err := x.f.Eval(ctx, x.tab, expression)
			if err == nil && got == want {
				return nil
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				x.t.Fatalf("%s is %q (%v), want %q", expression, got, err, want)
			}
		}
	})
}

func (x *fox) state(want string) {
	x.t.Helper()
	x.becomes(`document.getElementById('status')?.dataset.state`, want)
}

func (x *fox) press(selector string) {
	x.t.Helper()
	x.do(func(ctx context.Context) error { return x.f.Press(ctx, x.tab, selector) })
}

// shot keeps a picture of the page where STARK_E2E_SHOTS names a folder.
func (x *fox) shot(name string) {
	x.t.Helper()
	dir := os.Getenv("STARK_E2E_SHOTS")
	if dir == "" {
		return
	}
	x.do(func(ctx context.Context) error {
		data, err := x.f.Screenshot(ctx, x.tab)
		if err != nil {
			return err
		}
		png, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	})
}

// joinFirefox makes the tab a node of the cluster by a fresh join token.
func (c *cluster) joinFirefox(x *fox) api.Node {
	c.t.Helper()
	x.do(func(ctx context.Context) error { return x.f.Navigate(ctx, x.tab, c.URL+"/node#"+c.invite()) })
	x.state("asking")
	x.press("#join-form button.main")
	x.state("online")
	return c.waitNode(x.eval(`document.getElementById('node-name').textContent`), api.NodeOnline)
}

// A tab of Firefox, on a phone, is a node: it runs, logs and stops packs, comes back after
// a reload, and leaves.
func TestATabOfFirefoxIsANode(t *testing.T) {
	t.Parallel()
	x := openFirefox(t)
	c := start(t)
	x.do(func(ctx context.Context) error { return x.f.Viewport(ctx, x.tab, 390, 740) })
	node := c.joinFirefox(x)
	if node.RuntimeType != api.RuntimeBrowser || !strings.HasPrefix(node.Capabilities.Version, "Firefox/") {
		t.Errorf("the node is of runtime %s, %q", node.RuntimeType, node.Capabilities.Version)
	}
	if href := x.eval(`location.href`); strings.Contains(href, "#") {
		t.Errorf("the token is still in the address: %s", href)
	}
	c.example("hello-anywhere")
	pod := c.pod("hello-anywhere", never, func(r *api.CreatePodRequest) {
		r.Env = map[string]string{"NAME": "Ada", "FETCH": echo(t) + "/text"}
	})
	c.waitLine(pod.ID, "INFO fetched:") // it runs before it has said all
	x.becomes(`document.querySelector('#runs strong')?.textContent.startsWith('hello-anywhere')`, "true")
	x.shot("firefox-online-phone")
	if wide := x.eval(`document.documentElement.scrollWidth - innerWidth`); strings.TrimPrefix(wide, "-") != "0" && !strings.HasPrefix(wide, "-") {
		t.Errorf("the page is %s pixels wider than a phone", wide)
	}
	if _, _, err := c.Client.StopPod(t.Context(), pod.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(pod.ID, api.PodStopped)
	want := []string{"INFO kept: Hello, Ada!", "INFO primes below 50000: 5133", "INFO fetched: 200, 5 characters", "INFO goodbye"}
	if said := c.lines(pod.ID); len(said) != 5 || !slices.Equal(said[1:], want) {
		t.Errorf("the pod says %q", said)
	}
	x.do(func(ctx context.Context) error { return x.f.Navigate(ctx, x.tab, c.URL+"/node") })
	x.state("online")
	if now := c.waitNode(node.Name, api.NodeOnline); now.ID != node.ID {
		t.Errorf("the node %s has become %s by a reload", node.ID, now.ID)
	}
	x.press("#leave")
	x.state("asking")
	c.waitNode(node.Name, api.NodeOffline)
}
