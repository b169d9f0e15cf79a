package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// clockTick is the unit of times in /proc on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// stat is what /proc tells of a process.
type stat struct {
	parent int
	own    time.Duration // user and system
	waited time.Duration // of children that have ended
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	// The name stands in brackets and may have blanks; what follows is numbers.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	number := func(i int) time.Duration {
		n, _ := strconv.ParseInt(fields[i], 10, 64) // the kernel wrote it
		return time.Duration(n)
	}
	return stat{
		parent: int(number(1)),
		own:    (number(11) + number(12)) * clockTick, waited: (number(13) + number(14)) * clockTick,
	}, nil
}

// cpuOfProcess is the time of the CPU that a process has taken so far.
func cpuOfProcess(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	return s.own, err
}

// cpuOfFamily is the time of the CPU that a process, its children and its children
// that have ended have taken so far: for Postgres all there is.
func cpuOfFamily(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	sum := s.own + s.waited
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range all {
		child, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if s, err := readStat(child); err == nil && s.parent == pid { // one that has just ended is in waited
			sum += s.own
		}
	}
	return sum, nil
}

// postmaster gives the process of the Postgres that a connection is to.
func postmaster(ctx context.Context, conn *pgx.Conn) (int, error) {
	var backend int
	if err := conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&backend); err != nil {
		return 0, err
	}
	s, err := readStat(backend)
	return s.parent, err
}

// load is the machine's load average over the last minute, to be read beside figures.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
