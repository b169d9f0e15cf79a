//go:build unix

package nodejs

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestTheCacheLetsGoOfWhatWasNotUsedForLongest(t *testing.T) {
	t.Parallel()
	b := newBundles(nil, t.TempDir(), Options{CacheBytes: 250, Logger: slog.New(slog.DiscardHandler)})
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
