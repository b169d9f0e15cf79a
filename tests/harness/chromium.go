package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/chromedp/chromedp"
)

// ErrNoChromium means that no browser of that kind is on PATH.
var ErrNoChromium = errors.New("no Chromium on PATH: install the package chromium to try browser tabs")

// Chromium finds the browser.
func Chromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoChromium
}

// Browse starts Chromium without a window and with an empty profile. What it gives is
// a context of chromedp, to make tabs from, and the end of it all.
func Browse(ctx context.Context) (context.Context, func(), error) {
	path, err := Chromium()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "stark-chromium-")
	if err != nil {
		return nil, nil, err
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.Headless, chromedp.NoFirstRun}
	for _, flag := range []string{"no-sandbox", "disable-gpu", "disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(ctx, options...)
	browser, stopBrowser := chromedp.NewContext(alloc)
	stop := func() {
		stopBrowser()
		stopAlloc()
		_ = os.RemoveAll(dir) // it lies in the folder of temporary files
	}
	if err := chromedp.Do(browser); err != nil {
		stop()
		return nil, nil, fmt.Errorf("start Chromium: %w", err)
	}
	return browser, stop, nil
}
