//go:build unix

package cli

import (
	"math"
	"syscall"
)

// mostOpenFiles is how many files this process may have open at a time.
func mostOpenFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(limit.Cur)
}
