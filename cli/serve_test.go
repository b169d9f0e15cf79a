package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// logUntil runs a command until its log has a line with the text, and gives the
// whole log and the exit code.
func logUntil(t *testing.T, env map[string]string, text string, args ...string) (log string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	read, write := io.Pipe()
	exit := make(chan int, 1)
	go func() {
		code := Run(ctx, args, func(k string) string { return env[k] }, strings.NewReader(""), io.Discard, write)
		_ = write.Close()
		exit <- code
	}()
	var all strings.Builder
	found := false
	scan := bufio.NewScanner(read)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		all.WriteString(scan.Text() + "\n")
		if strings.Contains(scan.Text(), text) {
			found = true
			cancel()
		}
	}
	if !found {
		t.Errorf("%v: no %q in the log:\n%s", args, text, all.String())
	}
	return all.String(), <-exit
}

func TestServerStart(t *testing.T) {
	t.Parallel()
	c, err := shared.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"STARK_HOME": t.TempDir(), "SUPABASE_URL": c.Project.URL, "SUPABASE_ANON_KEY": c.Project.AnonKey,
		"SUPABASE_SERVICE_ROLE_KEY": c.Project.ServiceRoleKey, "SUPABASE_JWT_SECRET": c.Project.JWTSecret, "STARK_DATABASE_URL": c.Project.DBURL,
	}
	log, code := logUntil(t, env, `"msg":"listening"`, "server", "start", "--port", "0", "--host", "127.0.0.1", "--migrate")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{`"name":"SUPABASE_ANON_KEY"`, "schema is up to date"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log misses %s", want)
		}
	}
	if strings.Contains(log, c.Project.ServiceRoleKey) || strings.Contains(log, c.Project.JWTSecret) {
		t.Error("a key is in the log")
	}
	env["STARK_DATABASE_URL"] = "postgres://nobody:secret-word@127.0.0.1:1/none"
	got := run(t, env, "", "server", "start", "--port", "0", "--migrate")
	if got.code != 1 || !strings.Contains(got.stderr, "connect to the database") || strings.Contains(got.stderr, "secret-word") {
		t.Errorf("without a database: %+v", got)
	}
}

func TestAgentStart(t *testing.T) {
	t.Parallel()
	c, err := shared.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Client.CreateJoinToken(t.Context(), api.CreateJoinTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"token": token.Token + "\n"})
	env := map[string]string{"STARK_HOME": t.TempDir(), "STARK_LOG_LEVEL": "info"}
	args := []string{
		"node", "agent", "start", "--url", c.URL, "--name", "second", "--warm-pool", "0",
		"--cpu", "1", "--memory", "1Gi", "--pods", "5", "-l", "kind=spare", "--taint", "spare=yes:NoSchedule",
	}
	log, code := logUntil(t, env, "registered", append(args, "--token-file", filepath.Join(dir, "token"))...)
	if code != 0 || strings.Contains(log, token.Token) {
		t.Errorf("exit code %d, log:\n%s", code, log)
	}
	n, err := c.Client.GetNodeByName(t.Context(), "second")
	// A node that has gone is tainted by the cluster as well.
	spare := func(t api.Taint) bool { return t.Key == "spare" && t.Value == "yes" }
	if err != nil || n.Allocatable.Pods != 5 || n.Allocatable.CPU != 1000 || n.Labels["kind"] != "spare" || !slices.ContainsFunc(n.Taints, spare) {
		t.Errorf("node: %+v, %v", n, err)
	}
	// Its credential is kept: the next start needs no token.
	if log, code := logUntil(t, env, "registered", append(args, "--leave")...); code != 0 {
		t.Errorf("second start: exit code %d, log:\n%s", code, log)
	}
	env["STARK_LOG_LEVEL"] = "loud"
	if got := run(t, env, "", args...); got.code != 1 || !strings.Contains(got.stderr, "STARK_LOG_LEVEL") {
		t.Errorf("wrong level: %+v", got)
	}
}

// endLeft kills the processes whose ids a file lists.
func endLeft(t *testing.T, path string) {
	t.Helper()
	list, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	for id := range strings.FieldsSeq(string(list)) {
		pid, err := strconv.Atoi(id)
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("what is left cannot be ended: %v", err)
		}
	}
}

// TestServerOnARunningProject gives `supabase status` a program that prints the
// shared cluster's project under the names of older and newer versions.
func TestServerOnARunningProject(t *testing.T) {
	env, c := patientEnv(t)
	bin := t.TempDir()
	left := filepath.Join(bin, "left")
	t.Cleanup(func() { endLeft(t, left) })
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, name := range []string{"SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY", "DATABASE_URL"} {
		delete(env, name)
	}
	for version, names := range map[string][2]string{"older": {"ANON_KEY", "SERVICE_ROLE_KEY"}, "newer": {"PUBLISHABLE_KEY", "SECRET_KEY"}} {
		text := fmt.Sprintf("API_URL=%q\nDB_URL=%q\n%s=%q\n%s=%q\nJWT_SECRET=%q\n",
			c.Project.URL, c.Project.DBURL, names[0], c.Project.AnonKey, names[1], c.Project.ServiceRoleKey, c.Project.JWTSecret)
		// What the wrapper that npm installs has started outlives it, with its output open,
		// here until the test ends: who waits for it is never done.
		script := "#!/bin/sh\nsleep 600 &\necho $! >>'" + left + "'\ntest \"$*\" = 'status -o env' || exit 9\necho 'Stopped services: [supabase_vector_stark]' >&2\ncat <<'EOF'\n" + text + "EOF\n"
		if err := os.WriteFile(filepath.Join(bin, "supabase"), []byte(script), 0o755); err != nil { //nolint:gosec // it has to run
			t.Fatal(err)
		}
		log, code := logUntil(t, env, `"msg":"listening"`, "server", "start", "--supabase", "--port", "0", "--migrate")
		if code != 0 || !strings.Contains(log, c.Project.URL) || strings.Contains(log, c.Project.ServiceRoleKey) {
			t.Errorf("%s: exit code %d, log:\n%s", version, code, log)
		}
		examine(t, env, 0, "--supabase")
	}
	// What the environment says goes before, under any of its names.
	env["DATABASE_URL"] = "postgres://nobody@127.0.0.1:1/none"
	if f := examine(t, env, 1, "--supabase")["postgres"]; f.Status != findingFailed {
		t.Errorf("the environment was not asked first: %+v", f)
	}
	if err := os.WriteFile(filepath.Join(bin, "supabase"), []byte("#!/bin/sh\necho 'supabase start is not running.' >&2\nexit 1\n"), 0o755); err != nil { //nolint:gosec // it has to run
		t.Fatal(err)
	}
	if got := run(t, env, "", "server", "start", "--supabase"); got.code != 1 || !strings.Contains(got.stderr, "supabase start") {
		t.Errorf("a stopped project: %+v", got)
	}
}
