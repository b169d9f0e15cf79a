//go:build unix && !linux

package nodejs

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// procAttr puts a host into a process group of its own. Without a parent-death
// signal, the closed control socket ends it when the agent dies.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// gauge tells the resident memory of one process.
type gauge struct{ pid int }

func openGauge(pid int) gauge { return gauge{pid} }

// bytes asks ps for the resident memory, 0 when the process is gone.
func (g gauge) bytes() int64 {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(g.pid)).Output() //nolint:noctx // ps answers at once
	if err != nil {
		return 0
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

func (gauge) close() {}

// peakBytes gives the highest resident memory that a reaped process had; these
// systems count it in bytes.
func peakBytes(ps *os.ProcessState) int64 {
	if usage, ok := ps.SysUsage().(*syscall.Rusage); ok {
		return int64(usage.Maxrss)
	}
	return 0
}

// isDying cannot be told here without reaping: a closed channel counts as a death.
func isDying(int) bool { return true }

// cpuTime is not known here while a process lives.
func cpuTime(int) time.Duration { return 0 }

// machine is not known here.
func machine() (busy time.Duration, total, available int64, ok bool) { return 0, 0, 0, false }
