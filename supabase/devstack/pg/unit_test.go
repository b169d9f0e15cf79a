//go:build unix

package pg

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// install makes a folder whose postgres claims a version.
func install(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestInstalled(t *testing.T) {
	t.Parallel()
	old, good, newer := install(t, "14.2"), install(t, "16.4 (Debian 16.4-1)"), install(t, "17.1")
	got, err := installed(t.Context(), []string{t.TempDir(), old, install(t, "nonsense"), good, newer})
	if err != nil || got.dir != good || got.version != "16.4" || got.major() != 16 {
		t.Errorf("installed = %+v, %v; want %s", got, err, good)
	}
	if _, err := installed(t.Context(), []string{old}); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("only an old version: %v", err)
	}
}

func TestAnotherMajorVersionIsRefused(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("16\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (binaries{version: "16.3"}).check(data); err != nil {
		t.Error(err)
	}
	if err := (binaries{version: "17.0"}).check(data); err == nil || !strings.Contains(err.Error(), "belongs to Postgres 16") {
		t.Errorf("check = %v", err)
	}
}

func TestStalePidFiles(t *testing.T) {
	t.Parallel()
	if err := clearStale(t.Context(), t.TempDir()); err != nil {
		t.Errorf("without a pid file: %v", err)
	}
	// The number of a stranger: the file goes, the process stays.
	sleeper := exec.CommandContext(t.Context(), "sleep", "60")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{strconv.Itoa(sleeper.Process.Pid) + "\n/data\n", "garbage", "", "1\n"} {
		data := t.TempDir()
		path := filepath.Join(data, "postmaster.pid")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := clearStale(t.Context(), data); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q: the file is still there", text)
		}
	}
	if !alive(sleeper.Process.Pid) {
		t.Error("a stranger was killed")
	}
	_ = sleeper.Process.Kill()
	_ = sleeper.Wait()
}

func TestALeftOverServerIsStopped(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	left := exec.CommandContext(t.Context(), "sleep", "60") // works in data, as a postmaster does
	left.Dir = data
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { _ = left.Wait(); close(gone) }()
	if err := os.WriteFile(filepath.Join(data, "postmaster.pid"), []byte(strconv.Itoa(left.Process.Pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := clearStale(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("the left-over process still runs")
	}
}

func TestWaitLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := waitLock(t.Context(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := waitLock(ctx, path, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock: %v", err)
	}
	unlock()
	for range 2 { // shared locks live side by side
		release, err := waitLock(t.Context(), path, false)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
}

func TestOrphansAreRemoved(t *testing.T) {
	t.Parallel()
	root, state := t.TempDir(), t.TempDir()
	home := func(name, from string) string {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if from != "" {
			if err := os.WriteFile(filepath.Join(dir, origin), []byte(from+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	kept, young := home("kept", state), home("young", "")
	written, moved := home("written", "\n"), home("moved", "/home/somebody/project/.stark")
	superseded, deleted := home("superseded", state), home("deleted", filepath.Join(state, "gone"))
	if err := os.WriteFile(filepath.Join(state, pointer), []byte(kept+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	removeOrphans(root)
	for dir, want := range map[string]bool{kept: true, young: true, written: true, moved: true, superseded: false, deleted: false} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: there = %v, want %v", dir, err == nil, want)
		}
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("/tmp", "stark-reach-"+strconv.Itoa(os.Getpid()))
	if err := os.MkdirAll(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	stranger := owner{uid: 1 << 20, gid: 1 << 20}
	if !reachable(filepath.Join(dir, "in"), stranger) {
		t.Error("an open folder counts as closed")
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if reachable(filepath.Join(dir, "in"), stranger) || reachable(filepath.Join(dir, "absent"), stranger) {
		t.Error("a closed folder counts as open")
	}
}

func TestPrunedTemplates(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	for i := range templatesKept + 1 {
		dir := filepath.Join(store, strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
	}
	pruneTemplates(store)
	entries, err := os.ReadDir(store)
	if err != nil || len(entries) != templatesKept || entries[0].Name() != "1" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if got := tail(path); got == "" {
		t.Error("no word about a missing log")
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("line\n", logLimit/5+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(path); len(got) > 4000 || !strings.Contains(got, "line | line") {
		t.Errorf("tail has %d bytes", len(got))
	}
	file, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil || info.Size() != 0 {
		t.Errorf("the log has %d bytes after opening", info.Size())
	}
	_ = file.Close()
}
