package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// tabs is what is measured of a browser tab as a node; without a browser that is nothing.
func (b *bench) tabs() stage {
	var d *bed
	var browser context.Context
	return stage{
		name: "a server with a tab",
		open: func(ctx context.Context) (shut func(), err error) {
			var end func()
			browser, end, err = harness.Browse(ctx) //nolint:fatcontext // chromedp keeps the browser in its context
			if errors.Is(err, harness.ErrNoChromium) {
				return nil, fmt.Errorf("%w: %w", errLeftOut, err)
			}
			if err != nil {
				return nil, err
			}
			d, err = b.bed(ctx, harness.Options{})
			shut = func() { end(); d.close(ctx) }
			if err != nil {
				return shut, err
			}
			if err := d.joinTab(ctx, browser); err != nil {
				return shut, err
			}
			return shut, d.register(ctx, "bench", "1.0.0", program)
		},
		steps: []step{
			{keys: []string{"tab.registered"}, measure: func(ctx context.Context) error { return b.tabRegistered(ctx, browser, d) }},
			{keys: []string{"tab.running"}, measure: func(ctx context.Context) error { return b.tabRunning(ctx, d) }},
		},
	}
}

var programName = regexp.MustCompile(`/node/assets/agent\.[0-9a-f]+\.`)

// tabSize asks for the program as a browser does.
func (b *bench) tabSize(ctx context.Context, server string) error {
	page, _, err := fetch(ctx, server+"/node", "identity")
	if err != nil {
		return err
	}
	script, _, err := fetch(ctx, server+programName.FindString(page)+"js", "identity")
	if err != nil {
		return err
	}
	_, size, err := fetch(ctx, server+programName.FindString(script)+"wasm", "br")
	if err != nil {
		return err
	}
	b.figures["tab.size"] = figure{Value: float64(size) / 1e6, Unit: "MB", Setup: "the agent of a tab as it is sent, with brotli"}
	return nil
}

func fetch(ctx context.Context, url, coding string) (string, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Accept-Encoding", coding)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: run `make tab` first", url, resp.StatusCode)
	}
	return string(body), len(body), err
}

// joinTab makes the tab the node "bench".
func (d *bed) joinTab(ctx, browser context.Context) error {
	token, err := d.Client.CreateJoinToken(ctx, api.CreateJoinTokenRequest{})
	if err != nil {
		return err
	}
	if err := chromedp.Do(
		browser, chromedp.Navigate(d.URL+"/node#"+token.Token), chromedp.WaitVisible("#name"),
		chromedp.SetJavascriptAttribute("#name", "value", "bench"), chromedp.Click("#join-form button.main"),
	); err != nil {
		return err
	}
	if err := d.nodeIs(ctx, api.NodeOnline); err != nil {
		text, _ := chromedp.Run(browser, chromedp.Evaluate[string](`document.body.innerText`))
		return fmt.Errorf("%w\nthe page:\n%s", err, text)
	}
	return nil
}

func (b *bench) tabRegistered(ctx, browser context.Context, d *bed) error {
	var registered []time.Duration
	for range b.times(8, 20) {
		// A page that was not told yet that it is online has nothing to leave.
		if err := chromedp.Do(browser, chromedp.WaitVisible("#status[data-state=online]"), chromedp.Navigate("about:blank")); err != nil {
			return err
		}
		if err := d.nodeIs(ctx, api.NodeOffline); err != nil {
			return err
		}
		begin := time.Now()
		opened := make(chan error, 1)
		go func() { opened <- chromedp.Do(browser, chromedp.Navigate(d.URL+"/node")) }()
		err := d.nodeIs(ctx, api.NodeOnline)
		registered = append(registered, time.Since(begin))
		if err = errors.Join(err, <-opened); err != nil {
			return err
		}
	}
	b.latencies("tab.registered", "navigation -> a watcher sees the node online; the tab has been a node before", registered)
	return nil
}

func (b *bench) tabRunning(ctx context.Context, d *bed) error {
	var running []time.Duration
	for i := range max(b.samples/2, 5) + 1 {
		settle(ctx) // the tab keeps one worker ready
		id, took, err := d.deploy(ctx, "1.0.0")
		if err != nil {
			return err
		}
		if i > 0 { // the first one fetched the bundle
			running = append(running, took)
		}
		if _, err := d.stop(ctx, id); err != nil {
			return err
		}
	}
	b.latencies("tab.running", "POST /api/pods -> a watcher sees it running in the tab; bundle cached, one worker ready", running)
	return nil
}
