package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A program without names and lines works as before; what it tells where it panics has
// the lines of our files, and no others.
func TestAStrippedProgramWorks(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not on PATH: no WebAssembly can be run")
	}
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "panics.wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", gcflags, "-o", path, "./testdata/panics")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	tells := func() string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), node, "--stack-size=8192", filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec_node.js"), path)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "as it should") {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	const ours, theirs = "deep.go:23", "zsortfunc.go:"
	if before := tells(); !strings.Contains(before, ours) || !strings.Contains(before, theirs) {
		t.Fatalf("it tells at first:\n%s", before)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := len(program)
	if err := withoutNames(program); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, program, 0o600); err != nil {
		t.Fatal(err)
	}
	if after := tells(); !strings.Contains(after, ours) || strings.Contains(after, theirs) || len(program) != whole {
		t.Errorf("it tells of itself:\n%s", after)
	}
	if err := withoutNames([]byte("\x00asm\x01\x00\x00\x00")); err == nil {
		t.Error("a program without a table is taken")
	}
}
