//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package pg

import (
	"context"
	"errors"
	"os"
	"syscall"
)

const (
	stopFast      = syscall.SIGINT
	stopImmediate = syscall.SIGKILL
)

var errPlatform = errors.New("the embedded Postgres needs Linux, macOS or a BSD; use `supabase start` here")

func tryLock(*os.File, bool) error { return errPlatform }

func ownerOf(string) (uid, gid int, ok bool) { return 0, 0, false }

func attributes(owner) *syscall.SysProcAttr { return nil }

func alive(int) bool { return false }

func signal(int, syscall.Signal) error { return errPlatform }

func worksIn(context.Context, int, string) bool { return false }
