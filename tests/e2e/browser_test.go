package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/tests/harness"
)

// chrome is the one Chromium that all tests share; each profile in it is empty.
type chrome struct {
	ctx  context.Context
	stop func()
	err  error
}

var sharedChrome = sync.OnceValue(launch)

// chromeRuns says whether there is something to close.
var chromeRuns atomic.Bool

// openBrowser starts Chromium, or skips the test where there is none.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	if _, err := harness.Chromium(); err != nil {
		t.Skip(err)
	}
	b := sharedChrome()
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.ctx
}

func launch() chrome {
	chromeRuns.Store(true)
	ctx, stop, err := harness.Browse(context.Background())
	return chrome{ctx: ctx, stop: stop, err: err}
}

func closeBrowser() {
	if !chromeRuns.Load() {
		return
	}
	if b := sharedChrome(); b.stop != nil {
		b.stop()
	}
}

// tab is one tab of a browser profile.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex
	texts []string // of the console
}

// profile makes an empty profile; the first tab in it comes with it.
func profile(t *testing.T) *tab {
	t.Helper()
	return newTab(openBrowser(t), t, chromedp.WithNewBrowserContext())
}

// sibling opens another tab of the same profile.
func (tb *tab) sibling() *tab {
	tb.t.Helper()
	return newTab(tb.ctx, tb.t, chromedp.WithNewWindow(true))
}

func newTab(parent context.Context, t *testing.T, o ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(parent, o...)
	t.Cleanup(stop)
	tb := &tab{t: t, ctx: ctx}
	tb.do()
	if err := chromedp.Listen(ctx, tb.hear); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			tb.mu.Lock()
			defer tb.mu.Unlock()
			t.Logf("the tab's console:\n%s", strings.Join(tb.texts, "\n"))
		}
	})
	return tb
}

// hear keeps what the page and its workers write to the console.
func (tb *tab) hear(ev any) {
	raw, err := json.Marshal(ev)
	if err != nil {
		return // it is no event of the console
	}
	var said struct {
		Args []struct {
			Value any `json:"value"`
		} `json:"args"`
		Entry struct {
			Text string `json:"text"`
		} `json:"entry"`
		ExceptionDetails json.RawMessage `json:"exceptionDetails"`
	}
	if json.Unmarshal(raw, &said) != nil {
		return
	}
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, a := range said.Args {
		if text, ok := a.Value.(string); ok {
			tb.texts = append(tb.texts, text)
		}
	}
	if text := said.Entry.Text + string(said.ExceptionDetails); text != "" {
		tb.texts = append(tb.texts, text)
	}
}

// do runs steps within the patience of the tests.
func (tb *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	if err := tb.try(steps...); err != nil {
		tb.t.Fatal(err)
	}
}

func (tb *tab) try(steps ...chromedp.Action[chromedp.Void]) error {
	if len(steps) == 0 {
		return chromedp.Do(tb.ctx)
	}
	ctx, stop := context.WithTimeout(tb.ctx, patience)
	defer stop()
	return chromedp.Do(ctx, steps...)
}

// close closes the tab as its user does. The profile stays: chromedp.Cancel would dispose
// of it right after, and with it of what a page sends as it goes.
func (tb *tab) close() {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, patience)
	defer stop()
	c := chromedp.FromContext(tb.ctx)
	if _, err := cdp.Call(ctx, c.Browser, target.CloseTarget, target.CloseTargetParams{TargetID: c.Target.TargetID}); err != nil {
		tb.t.Fatal(err)
	}
}

// press works a button, or what else can be pressed, as the keyboard does: a page whose
// parts are about to move has it still. A browser gives a key to the frame that it holds
// to have the focus, which a frame of another process has a moment after it says so, and
// to nobody before a page was painted; so the key is struck until the button has it.
func (tb *tab) press(selector string) {
	tb.t.Helper()
	tb.do(chromedp.WaitVisible(selector))
	eval[string](tb, fmt.Sprintf(`(() => {
		globalThis.pressed = '';
		document.querySelector(%q).addEventListener('click', () => { globalThis.pressed = 'yes'; }, { capture: true, once: true });
		return '';
	})()`, selector))
	for struck := 1; ; struck++ {
		tb.do(chromedp.Focus(selector), chromedp.KeyEvent("\r"))
		if eval[string](tb, "pressed") != "" {
			return
		}
		if tb.ctx.Err() != nil || struck == 100 {
			tb.t.Fatalf("%s does not hear the keyboard", selector)
		}
	}
}

// eval gives what a JavaScript expression of the page is.
func eval[T any](tb *tab, expression string) T {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, patience)
	defer stop()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		tb.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// state waits until the page shows a state.
func (tb *tab) state(want string) {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, patience)
	defer stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.getElementById('status')?.dataset.state ?? document.URL`))
		if got == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.t.Fatalf("the page shows %q (%v), want %q\n%s", got, err, want, tb.whole())
		}
	}
}

// whole is what there is to see of a page that does not show what it should.
func (tb *tab) whole() string {
	ctx, stop := context.WithTimeout(tb.ctx, 10*time.Second)
	defer stop()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.URL + ' ' + document.hasFocus() + ' ' + document.activeElement?.outerHTML + '\n' + document.body?.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// join makes the tab a node of the cluster by a fresh join token.
func (c *cluster) join(tb *tab) {
	c.t.Helper()
	c.joinAt(tb, c.URL)
}

// joinAt does so by an address of the server.
func (c *cluster) joinAt(tb *tab, url string) {
	c.t.Helper()
	tb.do(chromedp.Navigate(url + "/node#" + c.invite()))
	if text := eval[string](tb, `document.body.textContent`); strings.Contains(text, "built without the page") {
		c.t.Fatal("the binary has no page of tabs: run `make tab` before the tests, as `make test` does")
	}
	tb.state("asking")
	tb.press("#join-form button.main")
	tb.state("online")
}
