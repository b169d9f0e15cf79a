package nodejs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/filestate"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/shared/api"
)

// What a pack starts ends with it, even in a session of its own, with a parent that
// is gone, or in another folder.
func TestProcessesThatAPackStartedEndWithIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	for name, source := range map[string]string{
		"child":      `spawn('sleep', ['1000'], { stdio: 'ignore' }).pid`,
		"detached":   `spawn('sleep', ['1000'], { stdio: 'ignore', detached: true }).pid`,
		"moved":      `spawn('sleep', ['1000'], { stdio: 'inherit', detached: true, cwd: '/' }).pid`,
		"orphan":     `String(execSync('setsid sh -c "sleep 1000 >/dev/null 2>&1 & echo \\$!"')).trim()`,
		"grandchild": `spawn('sh', ['-c', 'sleep 1000; true'], { stdio: 'ignore', detached: true }).pid`,
	} {
		for ending, code := range map[string]string{"returns": ``, "dies": `process.kill(process.pid, 'SIGKILL')`} {
			if name == "moved" && ending == "dies" {
				continue // nothing tells whose it was once its parent is dead
			}
			c, lines, err := r.launch(t, `const { spawn, execSync } = require('node:child_process');
				module.exports = async () => { console.log(`+source+`); `+code+` }`)
			if err != nil && !errors.Is(err, executor.ErrEnded) {
				t.Fatal(err)
			}
			got := end(t, c)
			pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
			if err != nil {
				t.Fatalf("%s that %s: %v, ended with %+v", name, ending, err, got)
			}
			if alive(pid) {
				t.Errorf("%s that %s: process %d lives on", name, ending, pid)
			}
		}
	}
}

func TestASecondExecutorLeavesTheFolderOfTheFirstAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	c, _, err := r.launch(t, `module.exports = async () => { await new Promise(() => {}) }`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nodejs.New(t.Context(), nodejs.Options{StateDir: r.dir}); !errors.Is(err, filestate.ErrLocked) {
		t.Errorf("a second executor: %v, want %v", err, filestate.ErrLocked)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := end(t, c); got.Reason != api.ReasonStopped {
		t.Errorf("the first one's pod ended with %+v", got)
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
