package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// echo answers what the conformance pack asks for over HTTP, to pages of any origin.
func echo(t *testing.T) string {
	t.Helper()
	var mu sync.Mutex
	flaky := map[string]int{}
	mux := http.NewServeMux()
	mux.HandleFunc("/json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"query":%q,"pack":%q,"auth":%q}`, r.URL.RawQuery, r.Header.Get("X-Pack"), r.Header.Get("Authorization"))
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	mux.HandleFunc("/code", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, "globalThis.postMessage?.('it runs')")
	})
	var marks atomic.Int64
	mux.HandleFunc("/mark", func(http.ResponseWriter, *http.Request) { marks.Add(1) })
	mux.HandleFunc("/marked", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, marks.Load()) })
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "plain") })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/flaky", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		key := r.URL.Query().Get("key")
		if flaky[key]++; flaky[key] < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "after %d", flaky[key])
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Headers", "*, Authorization")
		h.Set("Access-Control-Allow-Methods", "*")
		if r.Method != http.MethodOptions {
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// onHost places a pod on the Node.js host of a test.
func onHost(r *api.CreatePodRequest) {
	r.Scheduling = &api.Scheduling{NodeSelector: map[string]string{"test": "host"}}
}

// lines gives what a pod has printed to its log.
func (c *cluster) lines(podID string) []string {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	var out []string
	for l, err := range c.Client.PodLogs(ctx, podID, client.LogOptions{Tail: new(-1)}) {
		if err != nil {
			c.t.Fatalf("logs: %v", err)
		}
		out = append(out, l.Line)
	}
	return out
}

// One bundle gives the same lines on both runtimes, to the byte.
func TestAUniversalPackGivesTheSameResultsOnBothRuntimes(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	address := echo(t)
	c.node("host", "--label", "test=host")
	c.join(tb)
	c.pack(c.Client, "conformance", func(r *api.CreatePackRequest) { r.RuntimeTag = api.TagUniversal })
	run := func(change func(*api.CreatePodRequest)) []string {
		pod := c.pod("conformance", change, func(r *api.CreatePodRequest) {
			r.Env, r.RestartPolicy = map[string]string{"ECHO": address}, api.RestartNever
			r.ResourceLimits = &api.ResourceInput{Storage: new(api.Mebibytes(1))}
		})
		c.waitPod(pod.ID, "to end", func(p api.Pod) bool { return p.Status.Terminal() })
		return c.lines(pod.ID)
	}
	onTab := func(r *api.CreatePodRequest) {
		r.Scheduling = &api.Scheduling{NodeSelector: map[string]string{"stark.io/tab": "true"}}
	}
	node, browser := run(onHost), run(onTab)
	for i := range max(len(node), len(browser)) {
		a, b := at(node, i), at(browser, i)
		if a != b {
			t.Errorf("line %d\n  node    %s\n  browser %s", i, a, b)
		}
	}
	if last := at(node, len(node)-1); !strings.HasPrefix(last, "INFO done") {
		t.Errorf("the pack did not come to its end: %s", last)
	}
}

func at(lines []string, i int) string {
	if i < 0 || i >= len(lines) {
		return "(nothing)"
	}
	return lines[i]
}

// waitLine follows what a pod says until a line begins so.
func (c *cluster) waitLine(podID, prefix string) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	for l, err := range c.Client.PodLogs(ctx, podID, client.LogOptions{Tail: new(-1), Follow: true}) {
		if err != nil {
			c.t.Fatalf("logs: %v", err)
		}
		if strings.HasPrefix(l.Line, prefix) {
			return
		}
	}
	c.t.Fatalf("the pod never said %q", prefix)
}
