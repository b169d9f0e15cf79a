package nodejs

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// procAttr puts a host into a process group of its own and tells it when the agent
// dies. SIGTERM and not SIGKILL, so that the host can take its group along.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// residentBytes reads the resident memory of a process, 0 when it is gone.
func residentBytes(pid int) int64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(raw)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// peakBytes gives the highest resident memory that a reaped process had.
func peakBytes(ps *os.ProcessState) int64 {
	if usage, ok := ps.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}

// isZombie tells whether a process of ours is dead and waits to be reaped.
func isZombie(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(raw, []byte(") "))
	return len(rest) > 0 && rest[0] == 'Z'
}
