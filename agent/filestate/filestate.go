// Package filestate keeps an agent's state in a folder: one file per key, mode
// 0600, replaced atomically and flushed to the disk. It owns the folder through a
// lock, so that two agents never share an identity. It refuses to know what the
// values mean.
package filestate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrLocked means that another agent works on the folder.
var ErrLocked = errors.New("another agent uses this state folder")

const tempPrefix = ".tmp-"

// State is a folder of values. It implements agent.State.
type State struct {
	dir  string
	lock *os.File // nil for a folder within another's
}

// Open makes the folder if need be and locks it until Close.
func Open(dir string) (*State, error) {
	lock, err := Lock(dir)
	if err != nil {
		return nil, err
	}
	s := &State{dir: dir, lock: lock}
	return s, s.sweep()
}

// Lock makes a folder if need be and locks it until the file is closed, or its
// process has ended.
func Lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the state folder: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", err, dir), lock.Close())
	}
	return lock, nil
}

// Within gives a folder of this folder, for one of several agents that share the lock. It
// needs no Close, and must not be used after that of s.
func (s *State) Within(name string) (*State, error) {
	dir, err := s.path(name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	inner := &State{dir: dir}
	return inner, inner.sweep()
}

// Close gives the folder free.
func (s *State) Close() error {
	if s.lock == nil {
		return nil
	}
	if err := s.lock.Close(); err != nil {
		return fmt.Errorf("unlock the state folder: %w", err)
	}
	return nil
}

// sweep removes what an interrupted Put left behind.
func (s *State) sweep() error {
	left, err := filepath.Glob(filepath.Join(s.dir, tempPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look through the state folder: %w", err)
	}
	for _, f := range left {
		if err := os.Remove(f); err != nil {
			return fmt.Errorf("clean the state folder: %w", err)
		}
	}
	return nil
}

// Get implements agent.State.
func (s *State) Get(_ context.Context, key string) ([]byte, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return raw, nil
}

// Put implements agent.State.
func (s *State) Put(_ context.Context, key string, value []byte) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	_, err = f.Write(value)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, errors.Join(err, os.Remove(f.Name())))
	}
	return s.syncDir()
}

// Delete implements agent.State.
func (s *State) Delete(_ context.Context, key string) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// Keys implements agent.State.
func (s *State) Keys(_ context.Context, prefix string) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list the state: %w", err)
	}
	var out []string
	for _, e := range entries {
		if n := e.Name(); e.Type().IsRegular() && strings.HasPrefix(n, prefix) && !strings.HasPrefix(n, ".") {
			out = append(out, n)
		}
	}
	return out, nil
}

// path refuses whatever could leave the folder or meet our own files.
func (s *State) path(key string) (string, error) {
	const allowed = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_."
	if key == "" || key[0] == '.' || len(key) > 200 || strings.Trim(key, allowed) != "" {
		return "", fmt.Errorf("the key %q is not allowed", key)
	}
	return filepath.Join(s.dir, key), nil
}

// syncDir makes a rename last.
func (s *State) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("flush the state folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("flush the state folder: %w", err)
	}
	return nil
}
