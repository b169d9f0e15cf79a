package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

// ErrNoFirefox means that no browser of that kind is on PATH.
var ErrNoFirefox = errors.New("no Firefox on PATH: install the package firefox-esr to try its tabs")

// Firefox is a browser without a window and with an empty profile, driven by WebDriver
// BiDi, which it speaks by itself. Its methods are safe for concurrent use.
type Firefox struct {
	process *Process
	dir     string
	conn    *websocket.Conn
	cancel  context.CancelFunc
	ended   chan struct{}

	mu      sync.Mutex
	next    int
	asked   map[int]chan biDiAnswer
	console []string
	err     error // valid once ended is closed
}

type biDiAnswer struct {
	Type    string          `json:"type"`
	ID      int             `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   string          `json:"error"`
	Message string          `json:"message"`
	Method  string          `json:"method"`
	Params  struct {
		Text string `json:"text"`
	} `json:"params"`
}

var biDiAddress = regexp.MustCompile(`WebDriver BiDi listening on (ws://\S+)`)

// quiet keeps the browser from asking anybody on the network; the rest it does by itself
// when it is driven.
const quiet = `user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
`

// StartFirefox starts the browser, which ends with Close.
func StartFirefox(ctx context.Context) (*Firefox, error) {
	path, err := exec.LookPath("firefox")
	if err != nil {
		if path, err = exec.LookPath("firefox-esr"); err != nil {
			return nil, ErrNoFirefox
		}
	}
	f := &Firefox{asked: map[int]chan biDiAnswer{}, ended: make(chan struct{})}
	if f.dir, err = os.MkdirTemp("", "stark-firefox-"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(f.dir, "user.js"), []byte(quiet), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(f.dir))
	}
	f.process, err = Launch(Spec{
		Name: "firefox", Path: path, Dir: f.dir, Env: []string{"HOME=" + f.dir, "MOZ_CRASHREPORTER_DISABLE=1"},
		Args: []string{"--headless", "--no-remote", "--profile", f.dir, "--remote-debugging-port", "0", "about:blank"},
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(f.dir))
	}
	if err := f.connect(ctx); err != nil {
		close(f.ended)
		f.end()
		return nil, fmt.Errorf("start Firefox: %w\n%s", err, f.process.Output())
	}
	return f, nil
}

func (f *Firefox) connect(ctx context.Context) error {
	address, err := f.address(ctx)
	if err != nil {
		return err
	}
	conn, resp, err := websocket.Dial(ctx, address+"/session", nil)
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return err
	}
	conn.SetReadLimit(64 << 20)
	f.conn = conn
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = cancel
	go f.read(reading)
	if _, err := f.call(ctx, "session.new", map[string]any{"capabilities": map[string]any{}}); err != nil {
		return err
	}
	_, err = f.call(ctx, "session.subscribe", map[string]any{"events": []string{"log.entryAdded"}})
	return err
}

// address waits until the browser says where it can be driven.
func (f *Firefox) address(ctx context.Context) (string, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if found := biDiAddress.FindStringSubmatch(f.process.Output()); found != nil {
			return found[1], nil
		}
		select {
		case <-tick.C:
		case <-f.process.Done():
			return "", errors.New("it has ended")
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func (f *Firefox) read(ctx context.Context) {
	defer close(f.ended)
	for {
		_, frame, err := f.conn.Read(ctx)
		if err != nil {
			f.err = err
			return
		}
		var a biDiAnswer
		if err := json.Unmarshal(frame, &a); err != nil {
			f.err = err
			return
		}
		f.mu.Lock()
		if a.Method == "log.entryAdded" {
			f.console = append(f.console, a.Params.Text)
		} else if waiting, ok := f.asked[a.ID]; ok {
			waiting <- a // has room for it
			delete(f.asked, a.ID)
		}
		f.mu.Unlock()
	}
}

func (f *Firefox) call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	answer := make(chan biDiAnswer, 1)
	f.mu.Lock()
	f.next++
	id := f.next
	f.asked[id] = answer
	f.mu.Unlock()
	frame, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	if err := f.conn.Write(ctx, websocket.MessageText, frame); err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	select {
	case a := <-answer:
		if a.Type != "success" {
			return nil, fmt.Errorf("%s: %s: %s", method, a.Error, a.Message)
		}
		return a.Result, nil
	case <-f.ended:
		return nil, fmt.Errorf("%s: the browser has gone: %w", method, f.err)
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}

// Console gives what the pages have written to their consoles.
func (f *Firefox) Console() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.console...)
}

// Close ends the browser with all its processes.
func (f *Firefox) Close() {
	f.cancel()
	<-f.ended
	_ = f.conn.CloseNow()
	f.end()
}

func (f *Firefox) end() {
	_ = syscall.Kill(-f.process.PID(), syscall.SIGKILL) // all of it: its profile is thrown away
	<-f.process.Done()
	_ = os.RemoveAll(f.dir) // it lies in the folder of temporary files
}

// Open opens a tab, in a profile of its own, and gives its id.
func (f *Firefox) Open(ctx context.Context) (string, error) {
	var profile struct {
		UserContext string `json:"userContext"`
	}
	var tab struct {
		Context string `json:"context"`
	}
	raw, err := f.call(ctx, "browser.createUserContext", map[string]any{})
	if err == nil {
		err = json.Unmarshal(raw, &profile)
	}
	if err != nil {
		return "", err
	}
	raw, err = f.call(ctx, "browsingContext.create", map[string]any{"type": "tab", "userContext": profile.UserContext})
	if err == nil {
		err = json.Unmarshal(raw, &tab)
	}
	return tab.Context, err
}

// Navigate goes to an address, and waits until the page is loaded.
func (f *Firefox) Navigate(ctx context.Context, tab, url string) error {
	_, err := f.call(ctx, "browsingContext.navigate", map[string]any{"context": tab, "url": url, "wait": "complete"})
	return err
}

// Viewport gives the page of a tab a size in pixels.
func (f *Firefox) Viewport(ctx context.Context, tab string, width, height int) error {
	_, err := f.call(ctx, "browsingContext.setViewport", map[string]any{"context": tab, "viewport": map[string]int{"width": width, "height": height}})
	return err
}

// Press presses the Enter key on an element.
func (f *Firefox) Press(ctx context.Context, tab, selector string) error {
	quoted, err := json.Marshal(selector)
	if err != nil {
		return err
	}
	if _, err := f.Eval(ctx, tab, "document.querySelector("+string(quoted)+").focus()"); err != nil {
		return err
	}
	key := func(what string) map[string]string { return map[string]string{"type": what, "value": "\ue007"} }
	_, err = f.call(ctx, "input.performActions", map[string]any{"context": tab, "actions": []any{
		map[string]any{"type": "key", "id": "keyboard", "actions": []any{key("keyDown"), key("keyUp")}},
	}})
	return err
}

// Screenshot gives what a tab shows, as base64 of a PNG.
func (f *Firefox) Screenshot(ctx context.Context, tab string) (string, error) {
	raw, err := f.call(ctx, "browsingContext.captureScreenshot", map[string]any{"context": tab, "origin": "document"})
	if err != nil {
		return "", err
	}
	var shot struct {
		Data string `json:"data"`
	}
	err = json.Unmarshal(raw, &shot)
	return shot.Data, err
}

// Eval gives what an expression of the page is, or what its promise gives, as text.
func (f *Firefox) Eval(ctx context.Context, tab, expression string) (string, error) {
	raw, err := f.call(ctx, "script.evaluate", map[string]any{
		"expression": "Promise.resolve(" + expression + ").then(String)", "target": map[string]any{"context": tab}, "awaitPromise": true, "userActivation": true,
	})
	if err != nil {
		return "", err
	}
	var out struct {
		Type   string `json:"type"`
		Result struct {
			Value string `json:"value"`
		} `json:"result"`
		ExceptionDetails struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return "", err
	}
	if out.Type != "success" {
		return "", fmt.Errorf("%s: %s", expression, out.ExceptionDetails.Text)
	}
	return out.Result.Value, nil
}
