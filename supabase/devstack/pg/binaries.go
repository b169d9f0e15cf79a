package pg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// oldest is the first major version whose grants and views the migrations rely on.
const oldest = 15

// binaries is one installation of Postgres.
type binaries struct {
	dir     string // holds initdb and postgres
	version string // as "15.18"
}

func (b binaries) major() int {
	major, _, _ := strings.Cut(b.version, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0
	}
	return n
}

// check refuses a data directory that another major version made: Postgres would refuse it too, but with
// no hint at what to do.
func (b binaries) check(data string) error {
	made, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return fmt.Errorf("read the version of the data directory: %w", err)
	}
	if got := strings.TrimSpace(string(made)); got != strconv.Itoa(b.major()) {
		return fmt.Errorf("the data in %s belongs to Postgres %s, but %s holds %s: install version %s or remove the folder",
			data, got, b.dir, b.version, got)
	}
	return nil
}

// locate finds an installed Postgres, and fetches one where there is none.
func locate(ctx context.Context, cache string, log logger) (binaries, error) {
	found, err := installed(ctx, candidates())
	if err == nil {
		return found, nil
	}
	if !errors.Is(err, ErrNotInstalled) {
		return binaries{}, err
	}
	return fetch(ctx, cache, log)
}

type logger = *slog.Logger

// ErrNotInstalled says that this machine has no Postgres that will do, and none could be fetched.
var ErrNotInstalled = errors.New("no Postgres of version 15 or newer is installed")

// candidates lists folders that may hold Postgres: the one on PATH first, then the newest of the places
// where packages put it.
func candidates() []string {
	var dirs []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(initdb); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	var packaged []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		matches, err := filepath.Glob(pattern)
		if err == nil {
			packaged = append(packaged, matches...)
		}
	}
	slices.SortStableFunc(packaged, func(a, b string) int { return numberIn(b) - numberIn(a) })
	return append(dirs, packaged...)
}

var digits = regexp.MustCompile(`[0-9]+`)

func numberIn(path string) int {
	n, err := strconv.Atoi(digits.FindString(path))
	if err != nil {
		return 0
	}
	return n
}

func installed(ctx context.Context, dirs []string) (binaries, error) {
	for _, dir := range dirs {
		found, err := inspect(ctx, dir)
		if err != nil {
			if ctx.Err() != nil {
				return binaries{}, ctx.Err()
			}
			continue // a broken installation is no reason to ignore a good one
		}
		if found.major() >= oldest {
			return found, nil
		}
	}
	return binaries{}, ErrNotInstalled
}

var versionText = regexp.MustCompile(`\(PostgreSQL\) ([0-9]+(?:\.[0-9]+|devel|beta[0-9]+|rc[0-9]+)?)`)

func inspect(ctx context.Context, dir string) (binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return binaries{}, fmt.Errorf("ask %s for its version: %w", dir, err)
	}
	match := versionText.FindStringSubmatch(out.String())
	if match == nil {
		return binaries{}, fmt.Errorf("%s: unknown version %q", dir, out.String())
	}
	return binaries{dir: dir, version: match[1]}, nil
}

// cacheDir is where templates and fetched binaries live. The account that runs Postgres must be able to
// reach the binaries, which rules root's own home out.
func cacheDir(wished string) (string, error) {
	dir := wished
	if dir == "" && os.Geteuid() == 0 && runtime.GOOS != "windows" {
		dir = "/var/cache/stark"
	} else if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a cache folder: %w", err)
		}
		dir = filepath.Join(base, "stark")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	return dir, nil
}
