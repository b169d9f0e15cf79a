package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that the harness started.
type Process struct {
	name   string
	cmd    *exec.Cmd
	output *tailBuffer
	done   chan struct{}
	err    error // set before done is closed
}

// Spec says what to start.
type Spec struct {
	Name string
	Path string
	Args []string
	Env  []string // added to a minimal environment
	Dir  string
	Out  io.Writer // gets stdout; nil keeps it with stderr
}

// Launch runs a program in a process group of its own.
func Launch(s Spec) (*Process, error) {
	p := &Process{name: s.Name, output: &tailBuffer{}, done: make(chan struct{})}
	p.cmd = exec.Command(s.Path, s.Args...) //nolint:noctx // the caller decides when and how it ends: Stop, Kill
	p.cmd.Env = append(environment(), s.Env...)
	p.cmd.Dir = s.Dir
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if s.Out != nil {
		p.cmd.Stdout = io.MultiWriter(s.Out, p.output)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// environment passes on what a program needs to find its tools and caches, and
// where a binary built for coverage writes its counters.
func environment() []string {
	keep := []string{"PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LANG"}
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if slices.Contains(keep, name) || strings.HasPrefix(strings.ToLower(name), "npm_config_") {
			env = append(env, kv)
		}
	}
	if dir := coverDir(); dir != "" {
		env = append(env, "GOCOVERDIR="+dir)
	}
	return env
}

// PID gives the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode gives the code of an ended process; -1 while it runs or when a signal
// ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Output gives the end of what the process wrote.
func (p *Process) Output() string { return p.output.String() }

// Kill ends the process as a power cut would, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks the process to end and waits; past the time limit it is killed and
// the wait ends in error.
func (p *Process) Stop(limit time.Duration) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.exit()
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("%s did not stop within %s\n%s", p.name, limit, p.Output())
	}
}

func (p *Process) exit() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", p.name, p.err, p.Output())
}

// Result is how a finished command ended.
type Result struct {
	Code   int
	Stdout string
	Stderr string
}

// Run runs a program to its end.
func Run(ctx context.Context, s Spec, stdin string) (Result, error) {
	cmd := exec.CommandContext(ctx, s.Path, s.Args...)
	cmd.Env = append(environment(), s.Env...)
	cmd.Dir = s.Dir
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		result.Code = exit.ExitCode()
		return result, nil
	}
	return result, err
}

// tailBuffer keeps the last bytes written to it.
type tailBuffer struct {
	mu   sync.Mutex
	data []byte
}

const tailLimit = 64 << 10

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	if over := len(b.data) - tailLimit; over > 0 {
		b.data = slices.Delete(b.data, 0, over)
	}
	return len(p), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.data)
}
