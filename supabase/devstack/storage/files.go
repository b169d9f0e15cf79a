package storage

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
)

// files keeps one file per object version, spread over 256 folders.
type files struct {
	objects string
	temp    string
	durable bool
}

func openFiles(dir string, durable bool) (*files, error) {
	f := &files{objects: filepath.Join(dir, "objects"), temp: filepath.Join(dir, "tmp"), durable: durable}
	if err := os.RemoveAll(f.temp); err != nil {
		return nil, fmt.Errorf("clear half uploads: %w", err)
	}
	for _, d := range []string{f.objects, f.temp} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// path refuses versions that this package did not make, so that no row can
// name a file elsewhere.
func (f *files) path(version string) (string, error) {
	id, err := uuid.Parse(version)
	if err != nil || id.String() != version {
		return "", fs.ErrNotExist
	}
	return filepath.Join(f.objects, version[len(version)-2:], version), nil
}

func (f *files) open(version string) (*os.File, error) {
	path, err := f.path(version)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// remove drops a version that no row names any more. What stays behind on an
// error is collected at the next start.
func (f *files) remove(versions ...string) {
	for _, v := range versions {
		if path, err := f.path(v); err == nil {
			_ = os.Remove(path)
		}
	}
}

// link gives the bytes of one version to a new one; versions never change, so
// both may share them.
func (f *files) link(from string) (string, error) {
	src, err := f.path(from)
	if err != nil {
		return "", err
	}
	version, dst, err := f.place()
	if err != nil {
		return "", err
	}
	if err := os.Link(src, dst); err != nil {
		return "", fmt.Errorf("link object file: %w", err)
	}
	return version, f.syncDir(filepath.Dir(dst))
}

func (f *files) place() (version, path string, err error) {
	version = uuid.NewString()
	if path, err = f.path(version); err != nil {
		return "", "", err
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err == nil {
		return version, path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	return version, path, f.syncDir(f.objects)
}

func (f *files) syncDir(dir string) error {
	if !f.durable {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// incoming is an upload on its way: bytes go to a temporary file, and become
// a version only when all have arrived.
type incoming struct {
	files *files
	file  *os.File
	sum   hash.Hash
	size  int64
}

func (f *files) create() (*incoming, error) {
	file, err := os.CreateTemp(f.temp, "upload-*")
	if err != nil {
		return nil, fmt.Errorf("create upload file: %w", err)
	}
	return &incoming{files: f, file: file, sum: md5.New()}, nil
}

// Write implements io.Writer.
func (in *incoming) Write(p []byte) (int, error) {
	n, err := in.file.Write(p)
	in.sum.Write(p[:n])
	in.size += int64(n)
	return n, err
}

func (in *incoming) etag() string { return `"` + hex.EncodeToString(in.sum.Sum(nil)) + `"` }

func (in *incoming) abort() {
	_ = in.file.Close()
	_ = os.Remove(in.file.Name())
}

// commit makes the bytes a version. After an error nothing is left behind.
func (in *incoming) commit() (version string, err error) {
	defer func() {
		if err != nil {
			_ = os.Remove(in.file.Name())
		}
	}()
	if in.files.durable {
		err = in.file.Sync()
	}
	if err = errors.Join(err, in.file.Close()); err != nil {
		return "", fmt.Errorf("finish upload file: %w", err)
	}
	version, path, err := in.files.place()
	if err != nil {
		return "", fmt.Errorf("place object file: %w", err)
	}
	if err = os.Rename(in.file.Name(), path); err != nil {
		return "", fmt.Errorf("place object file: %w", err)
	}
	if err = in.files.syncDir(filepath.Dir(path)); err != nil {
		in.files.remove(version)
		return "", fmt.Errorf("place object file: %w", err)
	}
	return version, nil
}

// versions lists what one of the folders holds.
func (f *files) versions(folder string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(f.objects, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}
