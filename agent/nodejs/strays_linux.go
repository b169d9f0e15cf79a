package nodejs

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// strayRounds bounds how often strays are looked for: each round kills what it finds,
// and who forks faster than that is beyond a node's means.
const strayRounds = 8

// forked tells whether a process has, or may have had, children. One that is dead
// already may have left any.
func forked(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(raw, []byte(") "))
	fields := bytes.Fields(rest)
	const state, faultsOfWaitedForChildren = 0, 8
	if len(fields) <= faultsOfWaitedForChildren || fields[state][0] == 'Z' || string(fields[faultsOfWaitedForChildren]) != "0" {
		return true
	}
	children, err := childrenOf(pid)
	return err != nil || len(children) > 0
}

// childrenOf lists the living children of all threads of a process.
func childrenOf(pid int) ([]int, error) {
	lists, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil || len(lists) == 0 {
		return nil, os.ErrNotExist
	}
	var out []int
	for _, path := range lists {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // that thread has ended
		}
		for f := range bytes.FieldsSeq(raw) {
			if child, err := strconv.Atoi(string(f)); err == nil {
				out = append(out, child)
			}
		}
	}
	return out, nil
}

// descendants lists the living processes below pid. A child that left the process
// group is found only here, and only while its parent lives.
func descendants(pid int) []int {
	const most = 4096
	var out []int
	for next := []int{pid}; len(next) > 0 && len(out) < most; next = next[1:] {
		children, err := childrenOf(next[0])
		if err != nil {
			continue
		}
		out, next = append(out, children...), append(next, children...)
	}
	return out
}

// killStrays kills every process that works in dir or below it, gone or not: what a
// pack has started and left behind in a session of its own.
func killStrays(dir string) {
	for range strayRounds {
		if !killIn(dir) {
			return
		}
	}
}

func killIn(dir string) (found bool) {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return false
	}
	for _, link := range links {
		cwd, err := os.Readlink(link)
		if err != nil {
			continue // it has ended, or is another user's
		}
		if cwd != dir && cwd != dir+" (deleted)" && !strings.HasPrefix(cwd, dir+"/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err == nil && pid != os.Getpid() && syscall.Kill(pid, syscall.SIGKILL) == nil {
			found = true
		}
	}
	return found
}
