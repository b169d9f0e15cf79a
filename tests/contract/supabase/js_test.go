package supabase_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const (
	installTime = 4 * time.Minute
	checkTime   = 2 * time.Minute
)

// manifest is what decides which packages get installed.
var manifest = []string{"package.json", "package-lock.json", ".npmrc"}

// parts are joined to one script, in this order.
var parts = []string{"harness.mjs", "auth.mjs", "storage.mjs", "tables.mjs", "run.mjs"}

// TestSupabaseJS runs the checks with supabase-js and reports each of them.
func TestSupabaseJS(t *testing.T) {
	t.Parallel()
	node := tool(t, "node")
	dir := install(t, tool(t, "npm"))
	var script []byte
	for _, part := range parts {
		text, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		script = append(script, text...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), checkTime)
	defer cancel()
	// The script comes by standard input, so that its imports resolve in the
	// folder of the packages.
	cmd := exec.CommandContext(ctx, node, "--input-type=module", "-")
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(script)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "SUPABASE_URL=" + stack.URL, "ANON_KEY=" + stack.AnonKey,
		"SERVICE_KEY=" + stack.ServiceRoleKey, "BUCKET=" + bucket,
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("node: %v\n%s", err, stderr.String())
	}
	report(t, stdout.Bytes())
}

// fewestChecks keeps a script that ends early from passing.
const fewestChecks = 60

func report(t *testing.T, output []byte) {
	t.Helper()
	n := 0
	for line := range bytes.Lines(output) {
		var check struct {
			Name, Error string
			OK          bool
		}
		if err := json.Unmarshal(line, &check); err != nil {
			t.Errorf("unexpected output %q: %v", line, err)
			continue
		}
		n++
		t.Run(check.Name, func(t *testing.T) {
			if !check.OK {
				t.Error(check.Error)
			}
		})
	}
	if n < fewestChecks {
		t.Errorf("%d checks ran, want at least %d", n, fewestChecks)
	}
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed to run supabase-js against the stack: install Node.js 20 or newer (%v)", name, err)
	}
	return path
}

// install puts the pinned packages in a cache folder named after their lock
// file. Whoever finishes first puts the folder in place.
func install(t *testing.T, npm string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	for _, name := range manifest {
		sum.Write(read(t, name))
	}
	dir := filepath.Join(cache, "stark", "contract", hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	//nolint:usetesting // it is renamed into the cache, so it has to lie there
	work, err := os.MkdirTemp(filepath.Dir(dir), "installing-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	for _, name := range manifest {
		if err := os.WriteFile(filepath.Join(work, name), read(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(work, dir); err != nil {
		if _, other := os.Stat(dir); other != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
