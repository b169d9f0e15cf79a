package filestate_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/agent/filestate"
)

func TestState(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), filepath.Join(t.TempDir(), "state")
	s, err := filestate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(ctx, "run.a.1"); got != nil || err != nil {
		t.Errorf("a missing key: %q %v", got, err)
	}
	for _, v := range []string{"one", "two"} {
		if err := s.Put(ctx, "run.a.1", []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(ctx, "identity", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(ctx, "run.a.1"); string(got) != "two" || err != nil {
		t.Errorf("got %q %v", got, err)
	}
	info, err := os.Stat(filepath.Join(dir, "run.a.1"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v %v", info, err)
	}
	if keys, err := s.Keys(ctx, "run."); err != nil || !slices.Equal(keys, []string{"run.a.1"}) {
		t.Errorf("keys: %v %v", keys, err)
	}
	for range 2 {
		if err := s.Delete(ctx, "run.a.1"); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	for _, key := range []string{"", ".lock", "../x", "a/b", strings.Repeat("k", 300)} {
		_, getErr := s.Get(ctx, key)
		if err := errors.Join(getErr, s.Put(ctx, key, nil), s.Delete(ctx, key)); getErr == nil || err == nil {
			t.Errorf("the key %q was taken", key)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOneAgentPerFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := filestate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filestate.Open(dir); !errors.Is(err, filestate.ErrLocked) {
		t.Errorf("a second agent: %v", err)
	}
	left := filepath.Join(dir, ".tmp-interrupted")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := filestate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("an interrupted write was left: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestSeveralAgentsShareALock(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	s, err := filestate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sim-1", "sim-2"} {
		one, err := s.Within(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := one.Put(ctx, "identity", []byte(name)); err != nil {
			t.Error(err)
		}
		if err := one.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := filestate.Open(dir); !errors.Is(err, filestate.ErrLocked) {
		t.Errorf("somebody else: %v", err)
	}
	left := filepath.Join(dir, "sim-2", ".tmp-interrupted")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	two, err := s.Within("sim-2")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := two.Get(ctx, "identity"); string(got) != "sim-2" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if keys, err := two.Keys(ctx, ""); err != nil || !slices.Equal(keys, []string{"identity"}) {
		t.Errorf("keys: %v %v", keys, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "sim-2")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode: %v %v", info, err)
	}
	for _, name := range []string{"", "..", ".lock", "a/b"} {
		if _, err := s.Within(name); err == nil {
			t.Errorf("the folder %q was made", name)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
