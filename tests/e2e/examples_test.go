package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// example registers an example by the command line, as its README says.
func (c *cluster) example(path string) {
	c.t.Helper()
	folder, err := filepath.Abs(filepath.Join("..", "..", "examples", path))
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := c.CLI(c.t.Context(), harness.AdminPassword+"\n", "auth", "login", "--email", harness.AdminEmail, "--password-stdin")
	if err == nil && r.Code == 0 {
		r, err = c.CLI(c.t.Context(), "", "pack", "register", folder)
	}
	if err != nil || r.Code != 0 {
		c.t.Fatalf("register %s: %v, %s%s", path, err, r.Stdout, r.Stderr)
	}
}

// One bundle says the same on a host and in a tab.
func TestHelloAnywhere(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	c.node("host", "--label", "test=host")
	c.join(tb)
	c.example("hello-anywhere")
	address := echo(t) + "/text"
	var said [][]string
	for label, value := range map[string]string{"test": "host", "stark.io/tab": "true"} {
		pod := c.pod("hello-anywhere", never, func(r *api.CreatePodRequest) {
			r.Env = map[string]string{"NAME": "Ada", "FETCH": address}
			r.Scheduling = &api.Scheduling{NodeSelector: map[string]string{label: value}}
		})
		c.waitLine(pod.ID, "INFO fetched:") // it runs before it has said all
		if _, _, err := c.Client.StopPod(t.Context(), pod.ID); err != nil {
			t.Fatal(err)
		}
		c.waitStatus(pod.ID, api.PodStopped)
		said = append(said, c.lines(pod.ID)[1:])
	}
	want := []string{"INFO kept: Hello, Ada!", "INFO primes below 50000: 5133", "INFO fetched: 200, 5 characters", "INFO goodbye"}
	if !slices.Equal(said[0], want) || !slices.Equal(said[1], want) {
		t.Errorf("the one says %q, the other %q", said[0], said[1])
	}
}

// boardState is what the board of the example tells.
type boardState struct {
	ID       string `json:"id"`
	Done     int    `json:"done"`
	Total    int    `json:"total"`
	Returned int    `json:"returned"`
	SHA256   string `json:"sha256"`
	Workers  []struct {
		Worker  string `json:"worker"`
		Runtime string `json:"runtime"`
		Tiles   int    `json:"tiles"`
	} `json:"workers"`
	Lent []lentTile `json:"lent"`
}

type lentTile struct {
	Worker string `json:"worker"`
}

// board waits until the board tells what is asked for.
func (c *cluster) board(address, what string, ok func(boardState) bool) boardState {
	c.t.Helper()
	var s boardState
	c.until(what, func() bool {
		r, err := http.Get(address + "/state")
		if err != nil {
			return false
		}
		defer func() { _ = r.Body.Close() }()
		return json.NewDecoder(r.Body).Decode(&s) == nil && ok(s)
	})
	return s
}

// holds reports whether a worker of a runtime has a tile.
func (s boardState) holds(runtime string) bool {
	return slices.ContainsFunc(s.Lent, func(l lentTile) bool {
		for _, w := range s.Workers {
			if w.Worker == l.Worker {
				return w.Runtime == runtime
			}
		}
		return false
	})
}

// gate is a worker's way to the board. As long as it is shut, the worker computes but cannot
// bring a result back: it has a tile in its hands for certain.
type gate struct {
	url  string
	shut atomic.Bool
	held chan struct{} // closed with the first result that is kept back
}

func newGate(t *testing.T, board string) *gate {
	t.Helper()
	to, err := url.Parse(board)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{held: make(chan struct{})}
	var once sync.Once
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/results/") || !g.shut.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20)) // until it is read, nobody sees the sender go
		once.Do(func() { close(g.held) })
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	g.url = server.URL
	return g
}

// A picture is made by a host and tabs together; a tab that is closed with a tile in its
// hands loses nothing, and the picture is the one that others make.
func TestFractalSwarm(t *testing.T) {
	t.Parallel()
	base := profile(t)
	first, second, viewer := base.sibling(), base.sibling(), base.sibling()
	c := start(t)
	c.node("host", "--label", "test=host")
	c.join(first)
	c.join(second)
	c.example("fractal-swarm/board")
	c.example("fractal-swarm/worker")
	port, err := harness.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("http://127.0.0.1:%d", port)
	board := c.pod("fractal-board", onHost, func(r *api.CreatePodRequest) {
		r.Env = map[string]string{"PORT": fmt.Sprint(port), "WIDTH": "384", "HEIGHT": "256", "TILE": "64", "ITERATIONS": "60000", "LEASE_MS": "10000"}
	})
	c.waitStatus(board.ID, api.PodRunning)
	viewer.do(chromedp.Navigate(address))
	worker := func(label, value, board string) api.Pod {
		return c.pod("fractal-worker", func(r *api.CreatePodRequest) {
			r.Env, r.Labels = map[string]string{"BOARD": board}, map[string]string{"app": "fractal"}
			r.Scheduling = &api.Scheduling{NodeSelector: map[string]string{label: value}}
		})
	}
	way := newGate(t, address)
	way.shut.Store(true)
	tabs := []api.Pod{worker("stark.io/tab", "true", way.url)}
	select {
	case <-way.held:
	case <-time.After(patience):
		t.Fatal("the tab brought no result")
	}
	tabs = append(tabs, worker("stark.io/tab", "true", address))
	worker("test", "host", address)
	c.board(address, "some tiles are done, and a tab has one", func(s boardState) bool { return s.holds("browser") && s.Done > 1 })
	viewer.shot("fractal-swarm-growing")
	held := c.waitStatus(tabs[0].ID, api.PodRunning)
	closing, other := first, second
	if c.nodeOf(second).ID == *held.NodeID {
		closing, other = second, first
	}
	// What the tab computed dies with it.
	if err := chromedp.Cancel(closing.ctx); err != nil {
		t.Fatal(err)
	}
	way.shut.Store(false)
	moved := c.waitPod(held.ID, "to go on in the other tab", func(p api.Pod) bool {
		return p.Status == api.PodRunning && p.Incarnation > held.Incarnation
	})
	if n := c.nodeOf(other); *moved.NodeID != n.ID {
		t.Errorf("the pod of the closed tab runs on %s, want %s", *moved.NodeID, n.ID)
	}
	s := c.board(address, "the picture is whole", func(s boardState) bool { return s.Done == s.Total })
	if s.Returned == 0 {
		t.Error("no tile was handed out again, and yet one was lost with its tab")
	}
	viewer.shown("#text", fmt.Sprintf("%d of %d tiles", s.Total, s.Total))
	viewer.accessible(axe(t), "the picture")
	viewer.shot("fractal-swarm")
	// The same picture once more, by the host alone: no bit is another one.
	for _, p := range tabs {
		if _, _, err := c.Client.StopPod(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		c.waitStatus(p.ID, api.PodStopped)
	}
	viewer.press("#whole")
	again := c.board(address, "it is whole again", func(n boardState) bool { return n.ID != s.ID && n.Done == n.Total })
	if again.SHA256 != s.SHA256 || len(again.SHA256) != 64 {
		t.Errorf("two pictures of the same: %s and %s", s.SHA256, again.SHA256)
	}
	if w := again.Workers; len(w) != 1 || w[0].Runtime != "node" {
		t.Errorf("the second picture was made by %+v", w)
	}
}
