package nodejs

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
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

// ticks of CPU time per second, which Linux fixes for user space.
const ticks = 100

// cpuTime reads the CPU time that a process has used.
func cpuTime(pid int) time.Duration {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(raw, []byte(") "))
	fields := bytes.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return time.Duration(user+system) * time.Second / ticks
}

// machine reads the busy CPU time of the machine, and its memory in bytes; ok is
// false where they cannot be read.
func machine() (busy time.Duration, total, available int64, ok bool) {
	stat, err1 := os.ReadFile("/proc/stat")
	info, err2 := os.ReadFile("/proc/meminfo")
	if err1 != nil || err2 != nil {
		return 0, 0, 0, false
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	for i, f := range bytes.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // its name, idle, waiting for disks, guests (counted as user)
			continue
		}
		if n, err := strconv.ParseInt(string(f), 10, 64); err == nil {
			busy += time.Duration(n) * time.Second / ticks
		}
	}
	for line := range bytes.Lines(info) {
		f := bytes.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, err := strconv.ParseInt(string(f[1]), 10, 64)
		switch {
		case err != nil:
		case string(f[0]) == "MemTotal:":
			total = kib << 10
		case string(f[0]) == "MemAvailable:":
			available = kib << 10
		}
	}
	return busy, total, available, total > 0
}
