package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	pages "github.com/stark-orchestrator/stark/server/tab"
)

// The suite that every executor passes, and the tests of what the agent needs of a
// browser, run in a real one: built like the program, in its place on the page.
func TestTheExecutorOfTabsConforms(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	program := filepath.Join(t.TempDir(), "test.wasm")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, "github.com/stark-orchestrator/stark/agent/browser")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	page, err := pages.New(pages.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if !page.Available() {
		t.Fatal("there is no page of tabs: run `make tab` before the tests, as `make test` does")
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		behaviour, isBundle := strings.CutPrefix(r.URL.Path, "/bundles/")
		switch {
		case isBundle:
			_, _ = w.Write([]byte(executortest.Sources[executortest.Behaviour(behaviour)]))
		case strings.HasSuffix(r.URL.Path, ".wasm"):
			w.Header().Set("Content-Type", "application/wasm")
			http.ServeFile(w, r, program)
		default:
			page.ServeHTTP(w, r)
		}
	}))
	defer srv.Close()
	tb.do(chromedp.Navigate(srv.URL + "/node"))
	out := tb.told("exit ")
	if !strings.Contains(out, "exit 0") {
		t.Errorf("in the browser:\n%s", out)
	}
	t.Log(out)
}

// told waits until the agent's log has a text, and gives the whole of it.
func (tb *tab) told(text string) string {
	tb.t.Helper()
	ctx, stop := context.WithTimeout(tb.ctx, 2*patience)
	defer stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		tb.mu.Lock()
		log := strings.Join(tb.texts, "\n")
		tb.mu.Unlock()
		if strings.Contains(log, text) {
			return log
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.t.Fatalf("the agent never told %q:\n%s", text, log)
		}
	}
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}
