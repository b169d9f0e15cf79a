//go:build unix

package nodejs_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/shared/api"
)

func liveness(seconds float64) func(*executor.Task) {
	return func(t *executor.Task) { t.Spec.Metadata = map[string]any{"unresponsiveAfterSeconds": seconds} }
}

// Each bad pack ends as its own failure with a reason, and a good one beside it
// lives on.
func TestMisbehavingPacks(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{WarmPool: 1})
	good, _, err := r.launch(t, `module.exports = async ({ signal }) => { await new Promise((r) => signal.addEventListener('abort', r)) }`)
	if err != nil {
		t.Fatalf("the good pack: %v", err)
	}
	var group sync.WaitGroup
	for _, tc := range []struct {
		name, source, reason, message, printed, signal string
		exit                                           int // -1: not looked at
		change                                         []func(*executor.Task)
	}{
		{name: "syntax error", source: `module.exports = (`, reason: api.ReasonPackLoadError, message: "SyntaxError", exit: 1},
		{name: "no function", source: `module.exports = 7`, reason: api.ReasonPackLoadError, message: "no default function", exit: 1},
		{name: "rejects", source: `module.exports = async () => { await null; throw new TypeError('bad') }`, reason: api.ReasonError, message: "TypeError: bad", exit: 1},
		{name: "unhandled rejection", source: `module.exports = async () => { Promise.reject(new Error('lost')); await new Promise((r) => setTimeout(r, 1e6)) }`, reason: api.ReasonError, message: "Error: lost", exit: 1},
		{name: "throws in a timer", source: `module.exports = async () => { setTimeout(() => { throw new Error('late') }, 5); await new Promise((r) => setTimeout(r, 1e6)) }`, reason: api.ReasonError, message: "Error: late", exit: 1},
		{name: "exits", source: `module.exports = () => { console.log('going'); process.exit(7) }`, reason: api.ReasonError, message: "process.exit(7)", printed: "going", exit: 7},
		{name: "exits well", source: `module.exports = () => { process.exit(0) }`, reason: api.ReasonCompleted, exit: 0},
		{name: "leaks heap", source: `module.exports = async () => { const a = []; for (;;) { a.push(new Array(1000).fill(Math.random())); if (a.length % 100 === 0) await new Promise(setImmediate) } }`, reason: api.ReasonOOMKilled, exit: -1, change: []func(*executor.Task){memory(64)}},
		{name: "leaks buffers", source: `module.exports = async () => { const a = []; for (;;) { a.push(Buffer.alloc(1 << 20, 1)); await new Promise((r) => setTimeout(r, 1)) } }`, reason: api.ReasonOOMKilled, message: "rss=", exit: -1, change: []func(*executor.Task){memory(64)}},
		{name: "allocates hugely", source: `module.exports = () => { const a = []; for (;;) a.push(new Array(5e7).fill(1.5)) }`, reason: api.ReasonOOMKilled, exit: -1, change: []func(*executor.Task){memory(64)}},
		{name: "kills its process", source: `module.exports = async () => { console.log('farewell'); process.kill(process.pid, 'SIGKILL'); await new Promise(() => {}) }`, reason: api.ReasonHostCrashed, message: "sent SIGKILL to its own process", printed: "farewell", signal: "SIGKILL", exit: -1},
		{name: "asks its process to end", source: `module.exports = async () => { process.kill(-process.pid); await new Promise(() => {}) }`, reason: api.ReasonHostCrashed, message: "sent SIGTERM to its own process", signal: "SIGKILL", exit: -1},
		{name: "sets an exit code", source: `module.exports = async () => { process.exitCode = 5 }`, reason: api.ReasonError, message: "process.exitCode 5", exit: 5},
		{name: "garbles the control channel", source: `module.exports = async () => { require('fs').writeSync(3, 'nonsense, long enough to be a frame'); await new Promise(() => {}) }`, reason: api.ReasonHostCrashed, message: "wrote to file descriptor 3", signal: "", exit: -1},
		{name: "cuts a character in two", source: `module.exports = () => { process.stdout.write(Buffer.from([0xe2, 0x82])); process.stdout.write(Buffer.from([0xac, 10])) }`, reason: api.ReasonCompleted, printed: "€\n", exit: 0},
		{name: "prints too much", source: `module.exports = async () => { for (let i = 0; i < 400000; i++) process.stdout.write('a line that is soon forgotten ' + i + '\n'); console.log('the last one') }`, reason: api.ReasonCompleted, printed: "the last one", exit: 0},
		{name: "loops", source: `module.exports = async ({ ready }) => { ready(); console.log('a'); console.log('b'); for (;;); }`, reason: api.ReasonUnresponsive, message: "event loop", printed: "a\nb\n", exit: -1, change: []func(*executor.Task){liveness(0.5)}},
		{name: "writes to the descriptor", source: `module.exports = async () => { require('fs').writeSync(1, 'raw\n'); await new Promise((r) => setTimeout(r, 50)); process.stderr.write('half') }`, reason: api.ReasonCompleted, printed: "raw\n", exit: 0},
		{name: "closes the control channel", source: `module.exports = async () => { require('fs').closeSync(3); await new Promise(() => {}) }`, reason: api.ReasonHostCrashed, message: "closed file descriptor 3", exit: -1},
	} {
		group.Go(func() {
			c, lines, err := r.launch(t, tc.source, tc.change...)
			if err != nil && !errors.Is(err, executor.ErrEnded) {
				t.Errorf("%s: start: %v", tc.name, err)
				return
			}
			got := end(t, c)
			if got.Reason != tc.reason || !strings.Contains(got.Message, tc.message) || got.Signal != tc.signal {
				t.Errorf("%s: ended with %+v, want %s, %q, signal %q", tc.name, got, tc.reason, tc.message, tc.signal)
			}
			if tc.exit >= 0 && (got.ExitCode == nil || *got.ExitCode != tc.exit) {
				t.Errorf("%s: exit code %v, want %d", tc.name, got.ExitCode, tc.exit)
			}
			if !strings.Contains(lines.Text(), tc.printed) {
				t.Errorf("%s: printed %q, want %q in it", tc.name, lines.Text(), tc.printed)
			}
		})
	}
	group.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := good.Shutdown(ctx); err != nil {
		t.Fatalf("stop the good pack: %v", err)
	}
	if got := end(t, good); got.Reason != api.ReasonStopped || got.Message != "" {
		t.Errorf("the good pack ended with %+v", got)
	}
}

// A pack that loops for ever is killed at the end of its grace.
func TestStopOfALoop(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*executor.Task){"process": liveness(0), "shared": shared} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nodejs.Options{})
			c, _, err := r.launch(t, `module.exports = async ({ ready }) => { ready(); await null; for (;;); }`, change)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := c.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			if got := end(t, c); got.Reason != api.ReasonStopped || !strings.Contains(got.Message, "killed") {
				t.Errorf("ended with %+v", got)
			}
		})
	}
}

// A pack whose event loop never comes to life cannot hear of a stop, and uses none of
// its grace.
func TestStopOfALoopAtLoad(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*executor.Task){"process": esm, "shared": shared} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nodejs.Options{})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			loops := make(chan struct{})
			c, err := r.Controller(r.task(`console.log('in'); for (;;);`, &executortest.Lines{}, change, func(t *executor.Task) {
				t.Output = func(api.LogLine) { close(loops) }
			}))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Prepare(ctx); err != nil {
				t.Fatal(err)
			}
			started := make(chan error, 1)
			go func() { started <- c.Start(ctx) }()
			<-loops
			if err := c.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			if left, _ := ctx.Deadline(); time.Until(left) < patience/2 {
				t.Errorf("the stop used %s of the grace", patience-time.Until(left))
			}
			if got := end(t, c); got.Reason != api.ReasonStopped || !strings.Contains(got.Message, "loading") {
				t.Errorf("ended with %+v", got)
			}
			if err := <-started; !errors.Is(err, executor.ErrEnded) {
				t.Errorf("start: %v", err)
			}
			if err := c.Remove(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// A pack that kills its process has its output and the cause told first, also where the
// agent is busy: here it takes nothing in before the pack has waited for a while.
func TestLastWordsReachABusyAgent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	const source = `const { Worker } = require('node:worker_threads');
		module.exports = async () => {
			const clock = new Worker("require('node:worker_threads').parentPort.once('message', () => setTimeout(() => require('node:fs').writeFileSync('waited', ''), 600))", { eval: true });
			await new Promise((r) => clock.once('online', r));
			for (let i = 0; i < 100; i++) console.log('more than fits on the way '.padEnd(10000, '.'));
			console.log('farewell');
			clock.postMessage('');
			process.kill(process.pid, 'SIGKILL');
		}`
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lines, busy := &executortest.Lines{}, make(chan struct{})
	c, err := r.Controller(r.task(source, lines, func(t *executor.Task) {
		t.Output = func(l api.LogLine) { <-busy; lines.Add(l) }
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- c.Start(ctx) }()
	waited := func() bool {
		marks, err := filepath.Glob(filepath.Join(r.dir, "pods", "*", "waited"))
		return err != nil || len(marks) > 0
	}
	for look := true; look; {
		look = !waited() && processes(r.dir) != "" && ctx.Err() == nil
	}
	close(busy)
	if got := end(t, c); got.Reason != api.ReasonHostCrashed || !strings.Contains(got.Message, "sent SIGKILL to its own process") || !strings.Contains(lines.Text(), "farewell") {
		t.Errorf("ended with %+v, printed %d bytes", got, len(lines.Text()))
	}
	if err := <-started; err != nil && !errors.Is(err, executor.ErrEnded) {
		t.Errorf("start: %v", err)
	}
	if err := c.Remove(ctx); err != nil {
		t.Error(err)
	}
}

// One that is ready has its whole grace, however early the stop comes.
func TestEarlyStopLeavesTheGrace(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	const source = `module.exports = ({ onStop, ready }) => {
		onStop(() => { for (const end = Date.now() + 2500; Date.now() < end;); console.log('cleaned up'); });
		ready();
		return new Promise(() => {});
	}`
	c, lines, err := r.launch(t, source)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := end(t, c); got.Reason != api.ReasonStopped || !strings.Contains(lines.Text(), "cleaned up") {
		t.Errorf("ended with %+v, printed %q", got, lines.Text())
	}
}

// Children of a pack end with it, however it ends.
func TestChildrenEndWithTheirPod(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	const source = `module.exports = async ({ log }) => {
		const { spawn } = require('child_process');
		const c = spawn('/bin/sh', ['-c', 'echo ' + process.cwd() + '; while :; do sleep 100; done', process.cwd()], { stdio: ['ignore', 'inherit', 'inherit'] });
		await new Promise((r) => c.once('spawn', r));
		await new Promise((r) => setTimeout(r, 50));
	}`
	c, lines, err := r.launch(t, source)
	if err != nil {
		t.Fatal(err)
	}
	if got := end(t, c); got.Reason != api.ReasonCompleted {
		t.Errorf("ended with %+v", got)
	}
	if !strings.Contains(lines.Text(), r.dir) {
		t.Errorf("the child's output is missing: %q", lines.Text())
	}
	if left := processes(r.dir); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

// In a shared host one bad pack does not end the others.
func TestSharedHost(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	const pid = `module.exports = async ({ log, signal }) => { console.log(process.pid); await new Promise((r) => signal.addEventListener('abort', r)) }`
	a, la, errA := r.launch(t, pid, shared)
	b, lb, errB := r.launch(t, pid, shared)
	bad, _, errBad := r.launch(t, `module.exports = async ({ ready }) => { ready(); throw new Error('boom') }`, shared)
	if errA != nil || errB != nil || errBad != nil {
		t.Fatal(errA, errB, errBad)
	}
	if la.Text() == "" || la.Text() != lb.Text() {
		t.Errorf("pids %q and %q, want one host", la.Text(), lb.Text())
	}
	if got := end(t, bad); got.Reason != api.ReasonError {
		t.Errorf("the bad pack ended with %+v", got)
	}
	for _, c := range []executor.Controller{a, b} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := c.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if got := end(t, c); got.Reason != api.ReasonStopped {
			t.Errorf("a good pack ended with %+v", got)
		}
	}
}

func TestFiftyPodsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{WarmPool: 2})
	const source = `module.exports = async ({ signal, ready }) => { ready(); await new Promise((r) => signal.addEventListener('abort', r)) }`
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			c, _, err := r.launch(t, source)
			if err != nil {
				t.Errorf("start: %v", err)
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := c.Shutdown(ctx); err != nil {
				t.Errorf("stop: %v", err)
			}
			if got := end(t, c); got.Reason != api.ReasonStopped || got.Usage.CPUMillis == 0 {
				t.Errorf("ended with %+v", got)
			}
		})
	}
	wg.Wait()
	if hits := r.shelf.hits.Load(); hits != 1 {
		t.Errorf("the bundle was fetched %d times, want once", hits)
	}
}

// The process is one, so all of its pods end; their records tell whose doing it was.
func TestOverrunInASharedHostNamesItsPod(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	small := func(task *executor.Task) { task.Spec.Isolation, task.Spec.Limits.Memory = api.IsolationShared, 48 }
	calm, _, err := r.launch(t, `module.exports = async ({ ready }) => { ready(); await new Promise(() => setInterval(() => {}, 1000)) }`, small)
	if err != nil {
		t.Fatal(err)
	}
	var greedyID string
	greedy, _, err := r.launch(t, `module.exports = async ({ ready }) => { ready(); const a = []; for (;;) { a.push(Buffer.alloc(1 << 20, 1)); await new Promise((r) => setTimeout(r, 25)) } }`,
		small, func(task *executor.Task) { greedyID = task.Key.PodID })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []executor.Controller{calm, greedy} {
		got := end(t, c)
		if got.Reason != api.ReasonOOMKilled || !strings.Contains(got.Message, "shared by 2 pods, of which "+greedyID+" took most") {
			t.Errorf("ended with %s: %s", got.Reason, got.Message)
		}
	}
}

func TestUsageOfPods(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	_, _, err := r.launch(t, `module.exports = async ({ ready }) => { ready(); await new Promise(() => setInterval(() => { const end = Date.now() + 300; while (Date.now() < end); }, 10)) }`)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		u := r.Usage()
		if len(u.Pods) == 1 && *u.Pods[0].CPU > 0 && *u.Pods[0].Memory > 10 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no figures: %+v", u)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestConditionsOfTheMachine(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	got := map[string]bool{}
	for _, c := range r.Conditions() {
		got[c.Type] = true
	}
	if !got[api.ConditionDiskPressure] || !got[api.ConditionMemoryPressure] {
		t.Errorf("got %v, want the disk's and the memory's", got)
	}
}
