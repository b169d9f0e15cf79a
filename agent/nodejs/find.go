package nodejs

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	minMajor     = 20
	probeTimeout = 10 * time.Second
)

// Find locates node and checks its version; path is "" for the one on PATH.
func Find(ctx context.Context, path string) (string, string, error) {
	if path == "" {
		path = "node"
	}
	full, err := exec.LookPath(path)
	if errors.Is(err, exec.ErrNotFound) {
		return "", "", fmt.Errorf("no %q on PATH: install Node.js %d or newer, or name its path", path, minMajor)
	}
	if err != nil {
		return "", "", fmt.Errorf("find Node.js: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, full, "--version").Output()
	if err != nil {
		return "", "", fmt.Errorf("ask %s for its version: %w", full, err)
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < minMajor {
		return "", "", fmt.Errorf("%s is version %q, Stark needs Node.js %d or newer", full, version, minMajor)
	}
	return full, version, nil
}
