package pg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dieWithParent asks for a fast shutdown when we die without stopping the server.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = stopFast }

// worksIn tells whether process pid has dir as its working directory, as the postmaster of dir has.
func worksIn(_ context.Context, pid int, dir string) bool {
	at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	real, err := filepath.EvalSymlinks(dir)
	return err == nil && at == real
}
