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

// residentBytes asks ps for the resident memory of a process, 0 when it is gone.
func residentBytes(pid int) int64 {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // ps answers at once
	if err != nil {
		return 0
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// peakBytes gives the highest resident memory that a reaped process had; these
// systems count it in bytes.
func peakBytes(ps *os.ProcessState) int64 {
	if usage, ok := ps.SysUsage().(*syscall.Rusage); ok {
		return int64(usage.Maxrss)
	}
	return 0
}

// isZombie cannot be told here without reaping: a closed channel counts as a death.
func isZombie(int) bool { return true }

// cpuTime is not known here while a process lives.
func cpuTime(int) time.Duration { return 0 }

// machine is not known here.
func machine() (busy time.Duration, total, available int64, ok bool) { return 0, 0, 0, false }
