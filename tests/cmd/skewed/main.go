//go:build linux && amd64

// Command skewed is stark on a machine whose clock is wrong: SKEWED_BY, a duration such
// as -10m, says by how much. Only the time of day is; the monotonic clock runs as ever,
// as it does on such machines. It is for tests alone.
//
// A program in Go asks no library for the time that something could be put in front of,
// but the kernel's own code that is mapped into it. The runtime keeps the address of
// that code in a variable, which is replaced here.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/stark-orchestrator/stark/cli"
)

//go:linkname vdsoClockgettimeSym runtime.vdsoClockgettimeSym
var vdsoClockgettimeSym uintptr

// What clock reads.
var (
	original uintptr //nolint:unused // clock reads it
	seconds  int64   //nolint:unused // clock reads it
)

// clock stands in for clock_gettime; C calls it.
func clock() //nolint:unused // address gives it

// address gives where clock is.
func address() uintptr

func main() { os.Exit(run()) }

func run() int {
	by, err := time.ParseDuration(os.Getenv("SKEWED_BY"))
	if err != nil || vdsoClockgettimeSym == 0 {
		fmt.Fprintln(os.Stderr, "skewed: SKEWED_BY must be a duration, and the kernel must map its clock:", err)
		return 1
	}
	original, seconds = vdsoClockgettimeSym, int64(by/time.Second)
	before := time.Now()
	vdsoClockgettimeSym = address()
	if off := time.Now().Round(0).Sub(before.Round(0)) - by; off.Abs() > 5*time.Second {
		fmt.Fprintln(os.Stderr, "skewed: the clock cannot be set, it is off by", off)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
}
