package pg

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/supabase/devstack/bootstrap"
)

const (
	buildLimit    = 3 * time.Minute
	templatesKept = 8
)

// newDataDir fills data from the template of o.Key, making the template first where it is missing.
func newDataDir(ctx context.Context, o Options, bins binaries, cache, data string, who owner) error {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	store := filepath.Join(cache, "templates")
	if err := os.MkdirAll(store, 0o700); err != nil {
		return fmt.Errorf("make the template folder: %w", err)
	}
	template := filepath.Join(store, templateKey(o, bins))
	release, err := holdTemplate(ctx, o, bins, template)
	if err != nil {
		return fmt.Errorf("prepare a template database: %w", err)
	}
	defer release()
	partial := data + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("clear a half-made data directory: %w", err)
	}
	if err := copyTree(ctx, template, partial, who); err != nil {
		return fmt.Errorf("copy the template database: %w", err)
	}
	if err := os.Rename(partial, data); err != nil {
		return fmt.Errorf("put the data directory in place: %w", err)
	}
	return nil
}

// holdTemplate makes sure that the template exists and keeps others from pruning it until release.
func holdTemplate(ctx context.Context, o Options, bins binaries, template string) (release func(), err error) {
	for {
		if err := ensureTemplate(ctx, o, bins, template); err != nil {
			return nil, err
		}
		release, err := waitLock(ctx, filepath.Join(filepath.Dir(template), "lock"), false)
		if err != nil {
			return nil, err
		}
		if touch(template) {
			return release, nil
		}
		release() // pruned in between
	}
}

func templateKey(o Options, bins binaries) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{"1", bins.version, bins.dir, bootstrap.Version(), o.Key}, "\x00")))
	return bins.version + "-" + hex.EncodeToString(sum[:10])
}

// ensureTemplate builds the template once per key, however many processes ask at the same time.
func ensureTemplate(ctx context.Context, o Options, bins binaries, template string) error {
	if touch(template) {
		return nil
	}
	store := filepath.Dir(template)
	unlock, err := waitLock(ctx, filepath.Join(store, "lock"), true)
	if err != nil {
		return err
	}
	defer unlock()
	if touch(template) {
		return nil
	}
	// Postgres' account has to reach the folder while it is being made, which the cache does not promise.
	work, err := os.MkdirTemp("", "stark-template-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := os.Chmod(work, 0o711); err != nil {
		return err
	}
	data := filepath.Join(work, "pgdata")
	if err := buildTemplate(ctx, o, bins, work, data); err != nil {
		return err
	}
	partial := template + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := copyTree(ctx, data, partial, owner{}); err != nil {
		return err
	}
	if err := os.Rename(partial, template); err != nil {
		return err
	}
	pruneTemplates(store)
	return nil
}

// touch tells whether the template exists, and marks it as used.
func touch(template string) bool {
	now := time.Now()
	return os.Chtimes(template, now, now) == nil
}

// pruneTemplates keeps the templates used last. Best effort: a failure costs disk space.
func pruneTemplates(store string) {
	entries, err := os.ReadDir(store)
	if err != nil {
		return
	}
	var dirs []fs.FileInfo
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.IsDir() {
			dirs = append(dirs, info)
		}
	}
	slices.SortFunc(dirs, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, old := range dirs[min(templatesKept, len(dirs)):] {
		_ = os.RemoveAll(filepath.Join(store, old.Name()))
	}
}

func buildTemplate(ctx context.Context, o Options, bins binaries, work, data string) error {
	who, err := account(data)
	if err != nil {
		return err
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if err := who.give(data); err != nil {
		return err
	}
	if err := initdb(ctx, bins, data, who); err != nil {
		return err
	}
	sockets, remove, err := socketDir(work, who)
	if err != nil {
		return err
	}
	defer func() { _ = remove() }()
	p, port, err := run(ctx, spec{
		bins: bins, data: data, sockets: sockets, log: filepath.Join(work, "log"), who: who,
		// Quiet and small: the template is read from disk after a clean stop.
		settings: map[string]string{"max_connections": "20", "autovacuum": "off"},
	})
	if err != nil {
		return err
	}
	err = prepare(ctx, o, sockets, port)
	p.stop(ctx)
	return err
}

func prepare(ctx context.Context, o Options, sockets string, port int) error {
	conn, err := superuserConn(ctx, sockets, port)
	if err != nil {
		return err
	}
	if err := errors.Join(bootstrap.Run(ctx, conn), conn.Close(ctx)); err != nil {
		return err
	}
	if o.Prepare != nil {
		conn, err := pgx.Connect(ctx, socketString(sockets, port, "postgres", "postgres"))
		if err != nil {
			return err
		}
		if err := errors.Join(o.Prepare(ctx, conn), conn.Close(ctx)); err != nil {
			return err
		}
	}
	conn, err = superuserConn(ctx, sockets, port)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "vacuum analyze")
	return errors.Join(err, conn.Close(ctx))
}

// initdb makes an empty cluster. Not every system knows the locale C.UTF-8.
func initdb(ctx context.Context, bins binaries, data string, who owner) error {
	var said string
	for _, locale := range []string{"C.UTF-8", "C"} {
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, filepath.Join(bins.dir, "initdb"), "-D", data,
			"-U", bootstrap.Superuser, "--auth-local=trust", "--auth-host=scram-sha-256",
			"--encoding=UTF8", "--locale="+locale, "--no-sync", "--no-instructions")
		cmd.Dir = "/"
		cmd.Env = environment()
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = attributes(who)
		err := cmd.Run()
		if err == nil {
			return nil
		}
		said = fmt.Sprintf("initdb: %v: %s", err, strings.TrimSpace(out.String()))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.New(said)
}

// copyTree copies a data directory at rest. Every file belongs to who afterwards and is private to it.
func copyTree(ctx context.Context, from, to string, who owner) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case entry.IsDir():
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			return who.give(target)
		case entry.Type().IsRegular():
			group.Go(func() error { return copyFile(path, target, who) })
			return nil
		default:
			return fmt.Errorf("%s is neither file nor folder", path)
		}
	})
	return errors.Join(err, group.Wait())
}

// copyFile lets the kernel copy, which clones the blocks on file systems that can.
func copyFile(from, to string, who owner) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if _, err := io.Copy(target, source); err != nil {
		return err
	}
	if who.switched {
		return target.Chown(who.uid, who.gid)
	}
	return nil
}
