//go:build unix

package nodejs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawner starts all hosts from one operating-system thread: the parent-death signal
// fires when the starting thread ends, not the process.
type spawner struct {
	jobs chan func()
	once sync.Once
	quit chan struct{}
}

func newSpawner() *spawner {
	return &spawner{jobs: make(chan func()), quit: make(chan struct{})}
}

func (s *spawner) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case job := <-s.jobs:
			job()
		case <-s.quit:
			return
		}
	}
}

func (s *spawner) close() { s.once.Do(func() { close(s.quit) }) }

func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	select {
	case s.jobs <- func() { result <- cmd.Start() }:
		return <-result
	case <-s.quit:
		return errors.New("the executor is closed")
	}
}

// pipes are the ends that the agent keeps of a host's descriptors.
type pipes struct {
	control, stdout, stderr *os.File
}

// plumb connects a command's stdout, stderr and fd 3; the returned files are the
// child's ends, to be closed after the start.
func plumb(cmd *exec.Cmd) (pipes, []*os.File, error) {
	var p pipes
	fail := func(open []*os.File, err error) (pipes, []*os.File, error) {
		return p, nil, errors.Join(fmt.Errorf("open the host's channels: %w", err), closeAll(open))
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return fail(nil, err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return fail([]*os.File{ours, theirs}, err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return fail([]*os.File{ours, theirs, outR, outW}, err)
	}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = outW, errW, []*os.File{theirs}
	p = pipes{control: ours, stdout: outR, stderr: errR}
	return p, []*os.File{theirs, outW, errW}, nil
}

func (p pipes) close() error {
	return closeAll([]*os.File{p.control, p.stdout, p.stderr})
}

func closeAll(files []*os.File) error {
	errs := make([]error, 0, len(files))
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

func socketpair() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("socketpair: %w", err), syscall.Close(fds[0]), syscall.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), "host control"), os.NewFile(uintptr(fds[1]), "host control"), nil
}
