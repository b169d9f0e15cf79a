//go:build unix

package nodejs_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// patience bounds what would else wait for ever; fifty processes start slowly on a machine
// that many share.
const patience = 2 * time.Minute

// shelf serves bundles over HTTP by their digest.
type shelf struct {
	url     string
	hits    atomic.Int64
	mu      sync.Mutex
	bundles map[string]string
}

func newShelf(tb testing.TB) *shelf {
	tb.Helper()
	s := &shelf{bundles: map[string]string{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		s.mu.Lock()
		body, ok := s.bundles[strings.TrimPrefix(r.URL.Path, "/")]
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = fmt.Fprint(w, body)
	}))
	tb.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *shelf) put(source string) (digest string) {
	sum := sha256.Sum256([]byte(source))
	digest = hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bundles[digest] = source
	return digest
}

type rig struct {
	*nodejs.Executor
	shelf *shelf
	dir   string
	next  atomic.Int64
}

func newRig(tb testing.TB, o nodejs.Options) *rig {
	tb.Helper()
	o.StateDir = tb.TempDir()
	o.Logger = loggingtest.New(tb).Logger
	e, err := nodejs.New(tb.Context(), o)
	if err != nil {
		tb.Fatalf("new executor: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			tb.Errorf("close: %v", err)
		}
		if left := processes(o.StateDir); left != "" {
			tb.Errorf("processes are left:\n%s", left)
		}
		if dirs, err := os.ReadDir(filepath.Join(o.StateDir, "pods")); err != nil || len(dirs) > 0 {
			tb.Errorf("folders of pods are left: %v %v", dirs, err)
		}
	})
	return &rig{Executor: e, shelf: newShelf(tb), dir: o.StateDir}
}

// processes lists those whose command line names the folder, zombies included.
func processes(dir string) string {
	out, _ := exec.Command("ps", "-eo", "pid,stat,args").CombinedOutput()
	var left []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) {
			left = append(left, line)
		}
	}
	return strings.Join(left, "")
}

func (r *rig) task(source string, lines *executortest.Lines, change ...func(*executor.Task)) executor.Task {
	digest := r.shelf.put(source)
	t := executor.Task{
		Key:    api.RunKey{PodID: fmt.Sprintf("pod-%d", r.next.Add(1)), Incarnation: 1, Attempt: 1},
		NodeID: "node-1",
		Spec: wire.PodSpec{
			Name: "pack", Namespace: "default", OwnerID: "owner", PackVersion: "1.2.3", RuntimeTag: api.TagNode,
			Format: api.FormatCommonJS, BundleSHA256: digest, BundleSize: int64(len(source)),
			Limits: api.Resources{Memory: 512}, Isolation: api.IsolationProcess,
		},
		Bundle: func(context.Context) (wire.BundleURLAck, error) {
			return wire.BundleURLAck{URL: r.shelf.url + "/" + digest, SHA256: digest}, nil
		},
		Output: lines.Add,
	}
	for _, f := range change {
		f(&t)
	}
	return t
}

// launch prepares and starts a run; its end is the test's business.
func (r *rig) launch(tb testing.TB, source string, change ...func(*executor.Task)) (executor.Controller, *executortest.Lines, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	lines := &executortest.Lines{}
	c, err := r.Controller(r.task(source, lines, change...))
	if err != nil {
		tb.Fatalf("controller: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Remove(ctx); err != nil {
			tb.Errorf("remove: %v", err)
		}
	})
	if err := c.Prepare(ctx); err != nil {
		return c, lines, err
	}
	return c, lines, c.Start(ctx)
}

func end(tb testing.TB, c executor.Controller) api.Termination {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := c.Wait(ctx)
	if err != nil {
		tb.Fatalf("wait: %v", err)
	}
	return got
}

func shared(t *executor.Task) { t.Spec.Isolation = api.IsolationShared }
func esm(t *executor.Task)    { t.Spec.Format = api.FormatESM }

func memory(m api.Mebibytes) func(*executor.Task) {
	return func(t *executor.Task) { t.Spec.Limits.Memory = m }
}
