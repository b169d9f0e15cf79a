//go:build unix

package nodejs

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// suicide notes that a pod's pack is about to signal its own process, which others
// may share. Signals that do not kill change nothing, so it is only a note.
func (h *host) suicide(c *controller, signal string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note = "the pack sent " + signal + " to its own process"
	if c.task.Spec.Isolation == api.IsolationShared {
		h.note = "the pod " + c.task.Key.PodID + " sent " + signal + " to the process it shared"
	}
}

// blame says why the control channel ended, when it was not by the death of the
// process: a pack can close or garble file descriptor 3.
func (h *host) blame(err error) {
	cause := "the pod's process closed file descriptor 3, the agent's channel, and was killed"
	switch {
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET):
		cause = "something but the host wrote to file descriptor 3, the agent's channel, so the process was killed"
	case diedWithin(h.cmd.Process.Pid, deathGrace):
		return
	}
	h.kill(api.ReasonHostCrashed, cause)
}

// diedWithin waits until the process, not yet reaped, is dead or on its way there.
func diedWithin(pid int, limit time.Duration) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !isDying(pid) {
		select {
		case <-again.C:
		case <-end.C:
			return false
		}
	}
	return true
}

// verdict says how a pod ended whose host is dead.
func (h *host) verdict(c *controller) api.Termination {
	h.mu.Lock()
	cause, fatal, note := h.cause, h.fatal, h.note
	h.mu.Unlock()
	usage := api.Usage{MemoryMiB: h.peak.Load() >> 20}
	ps := h.cmd.ProcessState
	if ps != nil {
		usage.CPUMillis = (ps.UserTime() + ps.SystemTime()).Milliseconds()
		usage.MemoryMiB = max(h.peak.Load(), peakBytes(ps)) >> 20 // short runs end between two samples
	}
	if said := c.said.Load(); said != nil {
		t := *said
		usage.LoopDelayMS = t.Usage.LoopDelayMS
		t.Usage = usage
		return t
	}
	t := api.Termination{Usage: usage, FinishedAt: time.Now().UTC()}
	if cause != nil {
		t.Reason, t.Message = cause.Reason, cause.Message
		return t
	}
	t.Reason, t.Message = api.ReasonHostCrashed, "the Node.js process of the pod ended by itself"
	status, ok := ps.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		t.Signal = signalName(status.Signal())
		t.Message = "the Node.js process of the pod was ended by " + t.Signal
		if note != "" {
			t.Message = note
		}
		if fatal {
			t.Reason, t.Message = api.ReasonOOMKilled, "an allocation beyond the memory limit ended the process"
		}
	case ok && status.Exited():
		t.ExitCode = new(status.ExitStatus())
		if fatal {
			t.Reason = api.ReasonOOMKilled
		}
	}
	return t
}

func signalName(s syscall.Signal) string {
	names := map[syscall.Signal]string{
		syscall.SIGABRT: "SIGABRT", syscall.SIGKILL: "SIGKILL", syscall.SIGTERM: "SIGTERM", syscall.SIGSEGV: "SIGSEGV",
		syscall.SIGBUS: "SIGBUS", syscall.SIGILL: "SIGILL", syscall.SIGTRAP: "SIGTRAP", syscall.SIGINT: "SIGINT",
		syscall.SIGHUP: "SIGHUP", syscall.SIGQUIT: "SIGQUIT", syscall.SIGFPE: "SIGFPE", syscall.SIGPIPE: "SIGPIPE",
	}
	if n, ok := names[s]; ok {
		return n
	}
	return s.String()
}
