package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/tests/harness"
)

// devRun is one `stark dev --json`.
type devRun struct {
	*harness.Process
	steps chan map[string]any
}

// stepLines takes the output of `stark dev --json` apart.
type stepLines struct {
	mu    sync.Mutex
	rest  []byte
	steps chan map[string]any
}

func (s *stepLines) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, p...)
	for {
		line, rest, found := bytes.Cut(s.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		s.rest = rest
		var step map[string]any
		if json.Unmarshal(line, &step) == nil {
			s.steps <- step
		}
	}
}

func dev(t *testing.T, dir string, args ...string) *devRun {
	t.Helper()
	steps := make(chan map[string]any, 100)
	p, err := harness.Launch(harness.Spec{
		Name: "dev", Path: stark, Dir: dir, Out: &stepLines{steps: steps},
		Args: append([]string{"dev", "--json", "--dir", filepath.Join(dir, "state"), "--port", "0", "--supabase-port", "0"}, args...),
		Env:  []string{"STARK_HOME=" + filepath.Join(dir, "home")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-p.Done():
		default:
			p.Kill()
		}
	})
	return &devRun{p, steps}
}

// ready waits for the step that comes last before dev waits.
func (d *devRun) ready(t *testing.T) map[string]any {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case step := <-d.steps:
			if step["ok"] != true {
				t.Fatalf("step failed: %v", step)
			}
			if step["step"] == "ready" {
				return step
			}
		case <-limit.C:
			t.Fatalf("not ready\n%s", d.Output())
		}
	}
}

func TestDevOnceEndsWhenThePackHasSpoken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, start := range []string{"first", "second"} {
		d := dev(t, dir, "--once")
		step := d.ready(t)
		for _, field := range []string{"apiUrl", "supabaseUrl", "anonKey", "serviceRoleKey", "dbUrl", "email", "password", "node", "pod", "ms"} {
			if step[field] == nil || step[field] == "" {
				t.Errorf("%s start: the step ready has no %s: %v", start, field, step)
			}
		}
		d.ends(t, 0)
	}
}

func TestDevOnceFailsWithThePacksReason(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pack := filepath.Join(dir, "broken.js")
	if err := os.WriteFile(pack, []byte(`throw new Error("not today")`), 0o644); err != nil {
		t.Fatal(err)
	}
	d := dev(t, dir, "--once", pack)
	d.ends(t, 1)
	if out := d.Output(); !strings.Contains(out, "not today") {
		t.Errorf("the reason is missing:\n%s", out)
	}
}

func TestDevLeavesNothingBehindAndComesBackAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := dev(t, dir)
	first := d.ready(t)
	family := descendants(t, d.PID())
	if len(family) < 2 {
		t.Fatalf("dev has the descendants %v, want Postgres and a host at least", family)
	}
	if err := d.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	d.ends(t, 0)
	c := &cluster{t: t}
	c.until("all processes to be gone", func() bool { return alive(family) == 0 })

	d = dev(t, dir)
	d.ready(t)
	family = descendants(t, d.PID())
	d.Kill()
	c.until("all processes to be gone after a kill", func() bool { return alive(family) == 0 })

	d = dev(t, dir)
	if again := d.ready(t); again["pod"] != first["pod"] || again["password"] != first["password"] {
		t.Errorf("the state was not kept: pod %v, was %v", again["pod"], first["pod"])
	}
	if err := d.Stop(patience); err != nil {
		t.Error(err)
	}
}

// ends waits for the process to end by itself with the code.
func (d *devRun) ends(t *testing.T, code int) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-d.Done():
	case <-limit.C:
		t.Fatalf("dev did not end\n%s", d.Output())
	}
	if got := d.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d\n%s", got, code, d.Output())
	}
}

// descendants lists all processes below pid.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	var all []int
	for _, child := range children(t, pid) {
		all = append(append(all, child), descendants(t, child)...)
	}
	return all
}

// alive counts the processes that still exist, zombies apart.
func alive(pids []int) (n int) {
	for _, pid := range pids {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			continue
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(rest, "Z") {
			n++
		}
	}
	return n
}
