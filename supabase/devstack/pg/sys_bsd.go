//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package pg

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent has no counterpart here: a server that outlives us is stopped by the next start.
func dieWithParent(*syscall.SysProcAttr) {}

// worksIn tells whether process pid was started on data directory dir.
func worksIn(ctx context.Context, pid int, dir string) bool {
	out, err := exec.CommandContext(ctx, "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), dir)
}
