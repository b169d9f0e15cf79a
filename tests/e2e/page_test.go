package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// axe gives the source of axe-core, of the version that the lock file pins. It is kept
// in the user's cache folder.
func axe(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not on PATH: the check of accessibility needs axe-core")
	}
	lock, err := os.ReadFile("axe/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(cache, "stark", "e2e", "axe-"+digestOf(lock)+".js")
	if source, err := os.ReadFile(kept); err == nil {
		return string(source)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("axe")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm ci: %v, the check of accessibility needs axe-core\n%s", err, out)
	}
	source, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, "axe.js")
	if err := os.WriteFile(temp, source, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Rename(temp, kept) // across disks it is fetched again
	return string(source)
}

// accessible lets axe look at the page as it is.
func (tb *tab) accessible(source, what string) {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, patience)
	defer stop()
	found, err := chromedp.Run(ctx, chromedp.Evaluate[string](source+`;axe.run(document, { iframes: false }).then((r) =>
		JSON.stringify(r.violations.map((v) => ({ rule: v.id, help: v.help, at: v.nodes.map((n) => n.html) }))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("axe: %v", err)
	}
	var violations []any
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		tb.t.Fatal(err)
	}
	for _, v := range violations {
		tb.t.Errorf("%s, on %s: %v", what, eval[string](tb, `innerWidth + ' px'`), v)
	}
}

// shot keeps a picture of the page where STARK_E2E_SHOTS names a folder.
func (tb *tab) shot(name string) {
	tb.t.Helper()
	dir := os.Getenv("STARK_E2E_SHOTS")
	if dir == "" {
		return
	}
	ctx, stop := context.WithTimeout(tb.ctx, patience)
	defer stop()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		tb.t.Error(err)
	}
}

// The page does without a mouse, a large screen and eyes: the owner signs in, sees what
// runs, stops it, pauses and leaves by the keyboard.
func TestThePageIsForEverybody(t *testing.T) {
	t.Parallel()
	source := axe(t)
	tb := profile(t)
	c := start(t)
	tb.do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile), chromedp.Navigate(c.URL+"/node"))
	tb.state("asking")
	tb.accessible(source, "asking")
	tb.do(chromedp.Focus("#by-token"), chromedp.KeyEvent(" "), chromedp.KeyEvent(kb.ArrowDown))
	if !eval[bool](tb, `document.getElementById('by-account').checked`) {
		t.Error("the way in cannot be chosen by the keyboard")
	}
	tb.accessible(source, "signing in")
	tb.shot("asking-phone")
	tb.do(chromedp.SendKeys("#email", harness.AdminEmail), chromedp.SendKeys("#password", "Wrong-Horse-9\r"))
	tb.shown("#problem", "password")
	tb.do(chromedp.SendKeys("#password", harness.AdminPassword+"\r"))
	tb.state("online")
	if left := eval[string](tb, `document.getElementById('password').value`); left != "" {
		t.Error("the password stays in the page")
	}
	c.universal("greeter", greeter)
	pod := c.pod("greeter", func(r *api.CreatePodRequest) { r.RestartPolicy = api.RestartNever })
	c.waitStatus(pod.ID, api.PodRunning)
	tb.shown("#runs", "greeter 1.0.0")
	tb.accessible(source, "online")
	tb.shot("online-phone")
	if wide := eval[float64](tb, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
		t.Errorf("the page is %v pixels wider than a phone", wide)
	}
	tb.do(chromedp.EmulateViewport(1280, 800))
	tb.accessible(source, "online")
	tb.shot("online-desktop")
	tb.press("#runs button")
	c.waitPod(pod.ID, "to end by the owner's wish", func(p api.Pod) bool { return p.Status.Terminal() })
	tb.press("#pause")
	tb.state("paused")
	tb.accessible(source, "paused")
	name := eval[string](tb, `document.getElementById('node-name').textContent`)
	c.waitNode(name, api.NodeOffline)
	tb.press("#resume")
	tb.state("online")
	tb.press("#leave")
	tb.state("asking")
	c.waitNode(name, api.NodeOffline)
}

// shown waits until an element of the page has a text.
func (tb *tab) shown(selector, text string) {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, patience)
	defer stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector(`+quoted(selector)+`)?.textContent ?? ''`))
		if err != nil {
			tb.t.Fatalf("%s does not show %q: %v", selector, text, err)
		}
		if strings.Contains(got, text) {
			return
		}
	}
}

func quoted(s string) string {
	raw, _ := json.Marshal(s) // text can be encoded
	return string(raw)
}
