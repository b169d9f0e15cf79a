package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// LockedError says that another process uses the state folder.
type LockedError struct {
	Path   string
	Holder string // as the holder wrote it, such as "process 4711 (stark), since 2026-01-02T15:04:05Z"
}

func (e *LockedError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "another process"
	}
	return fmt.Sprintf("%s is held by %s", e.Path, holder)
}

// fileLock is an advisory lock that the kernel drops when the process ends, however it ends.
type fileLock struct {
	file *os.File
	path string
}

// acquire takes the lock at path at once or fails with a LockedError.
func acquire(path string) (*fileLock, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the lock: %w", err)
		}
		if err := tryLock(file, true); err != nil {
			holder, _ := io.ReadAll(io.LimitReader(file, 200))
			_ = file.Close()
			if errors.Is(err, errBusy) {
				return nil, &LockedError{Path: path, Holder: strings.TrimSpace(string(holder))}
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The previous holder may have removed the file after we opened it; then our lock guards nothing.
		if !sameFile(file, path) {
			_ = file.Close()
			continue
		}
		lock := &fileLock{file: file, path: path}
		if err := lock.sign(); err != nil {
			return nil, errors.Join(err, lock.release())
		}
		return lock, nil
	}
}

func (l *fileLock) sign() error {
	text := fmt.Sprintf("process %d (%s), since %s\n", os.Getpid(), programName(), time.Now().UTC().Format(time.RFC3339))
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("sign the lock: %w", err)
	}
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("sign the lock: %w", err)
	}
	return nil
}

// release removes the file before it lets go, so that nobody can see a lock file without a holder.
func (l *fileLock) release() error {
	err := os.Remove(l.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil // the whole folder may be gone
	}
	return errors.Join(err, l.file.Close())
}

func sameFile(file *os.File, path string) bool {
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(ours, there)
}

func programName() string {
	name := os.Args[0]
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	return name
}

// waitLock takes a lock on a file that stays, shared or exclusive, and returns the function that drops it.
func waitLock(ctx context.Context, path string, exclusive bool) (func(), error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := tryLock(file, exclusive)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, errBusy) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for %s: %w", path, ctx.Err()), file.Close())
		case <-tick.C:
		}
	}
}

var errBusy = errors.New("held by another process")
