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

// gauge tells the resident memory of one process. Its file stays open, so that a look is
// one call of the system, and never at another process that got the same id.
type gauge struct {
	statm *os.File // nil where there was no file left to be had
	path  string
}

func openGauge(pid int) gauge {
	g := gauge{path: "/proc/" + strconv.Itoa(pid) + "/statm"}
	g.statm, _ = os.Open(g.path) // each look tries again
	return g
}

// bytes gives the resident memory, 0 when the process is gone.
func (g gauge) bytes() int64 {
	if g.statm == nil {
		f, err := os.Open(g.path)
		if err != nil {
			return 0
		}
		defer f.Close()
		g.statm = f
	}
	var buf [128]byte // seven numbers, of which the second is wanted
	n, _ := g.statm.ReadAt(buf[:], 0)
	_, rest, _ := bytes.Cut(buf[:n], []byte(" "))
	resident, _, _ := bytes.Cut(rest, []byte(" "))
	pages, err := strconv.ParseInt(string(resident), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

func (g gauge) close() { _ = g.statm.Close() } // it was only read

// peakBytes gives the highest resident memory that a reaped process had.
func peakBytes(ps *os.ProcessState) int64 {
	if usage, ok := ps.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}

// isDying tells whether a process of ours has begun to end, or waits to be reaped. The
// kernel notes the former before it closes what the process has open.
func isDying(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(raw, []byte(") "))
	fields := bytes.Fields(rest)
	const state, flags, exiting = 0, 6, 4
	if len(fields) <= flags {
		return false
	}
	set, err := strconv.ParseUint(string(fields[flags]), 10, 64)
	return fields[state][0] == 'Z' || err == nil && set&exiting != 0
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
