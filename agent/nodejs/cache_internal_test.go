//go:build unix

package nodejs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func TestTheCacheLetsGoOfWhatWasNotUsedForLongest(t *testing.T) {
	t.Parallel()
	b := newBundles(nil, t.TempDir(), Options{CacheBytes: 250, Logger: loggingtest.New(t).Logger})
	now := time.Now()
	for name, age := range map[string]time.Duration{
		"fresh": time.Minute, "recent": 2 * time.Hour, "old": 24 * time.Hour, "older": 48 * time.Hour,
	} {
		path := filepath.Join(b.dir, name)
		if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		b.used[path], b.checked[path] = now.Add(-age), stampOf(path)
	}
	b.trim()
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if !slices.Equal(left, []string{"fresh", "recent"}) {
		t.Errorf("left are %v", left)
	}
	if len(b.used) != 2 || len(b.checked) != 2 {
		t.Errorf("%d and %d files are remembered, want 2", len(b.used), len(b.checked))
	}
	b.limit = 0
	b.trim()
	if _, err := os.Stat(filepath.Join(b.dir, "fresh")); err != nil {
		t.Errorf("what was used within the hour is gone: %v", err)
	}
}

// A download that several pods wait for goes on when the first of them is stopped: the
// control plane then tells that one no address any more.
func TestADownloadOutlivesThePodThatAskedFirst(t *testing.T) {
	t.Parallel()
	const source = "module.exports = () => {}"
	sum := sha256.Sum256([]byte(source))
	spec := wire.PodSpec{BundleSHA256: hex.EncodeToString(sum[:])}
	shelf := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, source)
	}))
	t.Cleanup(shelf.Close)
	b := newBundles(t.Context().Done(), t.TempDir(), Options{
		CacheBytes: 1 << 20, Client: shelf.Client(), Logger: loggingtest.New(t).Logger,
	})
	first, stop := context.WithCancel(t.Context())
	asked, stopped := make(chan struct{}, fetchAttempts), make(chan struct{})
	gone := make(chan error, 1)
	go func() {
		_, err := b.get(first, spec, func(context.Context) (wire.BundleURLAck, error) {
			asked <- struct{}{}
			<-stopped
			return wire.BundleURLAck{}, errors.New("this node does not run the pod")
		})
		gone <- err
	}()
	<-asked
	got := make(chan error, 1)
	joined := make(chan struct{})
	go func() {
		_, err := b.get(&joining{Context: t.Context(), joined: joined}, spec, func(context.Context) (wire.BundleURLAck, error) {
			return wire.BundleURLAck{URL: shelf.URL}, nil
		})
		got <- err
	}()
	<-joined
	stop()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the stopped pod got %v", err)
	}
	close(stopped)
	if err := <-got; err != nil {
		t.Errorf("the other pod got %v", err)
	}
}

// joining tells when somebody begins to wait on it.
type joining struct {
	context.Context
	once   sync.Once
	joined chan struct{}
}

func (j *joining) Done() <-chan struct{} {
	j.once.Do(func() { close(j.joined) })
	return j.Context.Done()
}
