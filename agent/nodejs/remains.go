//go:build unix

package nodejs

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// mostRemains bounds what is read when the time is over, in bytes: what a pipe holds, and
// not what somebody goes on writing.
const mostRemains = 1 << 20

// remains reads a pipe to its end or its deadline, and then what is in it already: a
// deadline has passed at the first look where the machine is busy.
type remains struct {
	pipe *os.File
	left int // may be read yet
}

func readRemains(pipe *os.File) io.Reader { return &remains{pipe: pipe, left: mostRemains} }

// Read reads.
func (r *remains) Read(p []byte) (int, error) {
	n, err := r.pipe.Read(p)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	p = p[:min(len(p), r.left)]
	raw, err := r.pipe.SyscallConn()
	if err == nil {
		err = r.pipe.SetReadDeadline(time.Time{}) // none may stand in the way of a read that waits for nothing
	}
	if err != nil || len(p) == 0 {
		return 0, io.EOF
	}
	if err := raw.Read(func(fd uintptr) bool { n, err = syscall.Read(int(fd), p); return true }); err != nil || n <= 0 { //nolint:gosec // descriptors are small
		return 0, io.EOF
	}
	r.left -= n
	return n, r.pipe.SetReadDeadline(time.Now())
}
