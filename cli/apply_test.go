package cli

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// asAdmin gives the environment of the admin of the cluster that tests share.
func asAdmin(t *testing.T) map[string]string {
	t.Helper()
	c, err := shared.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"STARK_HOME": t.TempDir(), "STARK_API_URL": c.URL, "STARK_EMAIL": c.Email, "STARK_PASSWORD": c.Password}
	if got := run(t, env, "", "auth", "login"); got.code != 0 {
		t.Fatalf("sign in: %s", got.stderr)
	}
	return env
}

// However many apply a file at a time, there is one of each object; and what was removed
// is made anew.
func TestParallelAppliesMakeOnePod(t *testing.T) {
	t.Parallel()
	env := asAdmin(t)
	dir := t.TempDir()
	must := func(args ...string) string {
		t.Helper()
		got := run(t, env, "", args...)
		if got.code != 0 {
			t.Fatalf("%v: %d %s", args, got.code, got.stderr)
		}
		return got.stdout
	}
	must("pack", "init", filepath.Join(dir, "parallel"))
	must("pack", "register", filepath.Join(dir, "parallel"), "--ver", "1.0.0")
	file := filepath.Join(dir, "parallel.yaml")
	err := os.WriteFile(file, []byte(`kind: Namespace
metadata:
  name: parallel
---
kind: PriorityClass
metadata:
  name: parallel
value: 12
---
kind: Pod
metadata:
  name: alone
  namespace: parallel
spec:
  pack: parallel
  version: 1.0.0
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	list := func() []string {
		return strings.Fields(must("pod", "list", "--namespace", "parallel", "-o", "name"))
	}
	together := func() {
		t.Helper()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if got := run(t, env, "", "apply", "-f", file); got.code != 0 {
					t.Errorf("apply: %d %s", got.code, got.stderr)
				}
			})
		}
		wg.Wait()
	}
	together()
	first := list()
	if len(first) != 1 {
		t.Fatalf("there are the pods %v, want one", first)
	}
	must("pod", "stop", "--wait", first[0])
	must("pod", "stop", "--purge", first[0])
	together()
	if second := list(); len(second) != 1 || second[0] == first[0] {
		t.Errorf("there are the pods %v after %v was removed, want another", second, first)
	}
}
