//go:build unix

package nodejs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	fetchAttempts = 4
	fetchTimeout  = 5 * time.Minute
	fetchBackoff  = 200 * time.Millisecond
)

type locate func(ctx context.Context) (wire.BundleURLAck, error)

// bundles is the cache of bundle files, named by their digest. Files are read-only
// and their digest is checked when this process sees them first, and again when
// size or time of change differ from then.
type bundles struct {
	quit   <-chan struct{} // closed with the executor; a download outlives the pod that asked first
	dir    string
	client *http.Client
	limit  int64
	log    *slog.Logger

	mu      sync.Mutex
	checked map[string]stamp
	flights map[string]*flight
	used    map[string]time.Time
}

type stamp struct {
	size    int64
	changed time.Time
}

// flight is one download, for all the pods that wait for it.
type flight struct {
	done   chan struct{}
	err    error
	askers []asker // owned by the lock of bundles
}

// asker is a pod that waits, until gone is closed.
type asker struct {
	gone  <-chan struct{}
	where locate
}

// errNobodyWaits ends a download before it has begun.
var errNobodyWaits = errors.New("nobody waits for the bundle any more")

func newBundles(quit <-chan struct{}, dir string, o Options) *bundles {
	return &bundles{
		quit: quit, dir: dir, client: o.Client, limit: o.CacheBytes, log: o.Logger,
		checked: map[string]stamp{}, flights: map[string]*flight{}, used: map[string]time.Time{},
	}
}

// get gives the file of a bundle, fetched at most once however many ask.
func (b *bundles) get(ctx context.Context, spec wire.PodSpec, where locate) (string, error) {
	if len(spec.BundleSHA256) != 2*sha256.Size || !isHex(spec.BundleSHA256) {
		return "", &executor.RunError{Reason: api.ReasonBundleUnavailable, Message: "the bundle has no valid digest"}
	}
	ext := ".cjs"
	if spec.Format == api.FormatESM {
		ext = ".mjs"
	}
	path := filepath.Join(b.dir, spec.BundleSHA256+ext)
	b.mu.Lock()
	b.used[path] = time.Now()
	if s, ok := b.checked[path]; ok && stampOf(path) == s {
		b.mu.Unlock()
		return path, nil
	}
	f := b.flights[path]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		b.flights[path] = f
		go b.fly(context.WithoutCancel(ctx), f, path, spec)
	}
	f.askers = append(f.askers, asker{gone: ctx.Done(), where: where})
	b.mu.Unlock()
	select {
	case <-f.done:
		return path, f.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil
}

// ask gives the address of the bundle. The control plane tells it to pods that shall
// run, so whoever still waits asks, each in turn.
func (b *bundles) ask(ctx context.Context, f *flight) (wire.BundleURLAck, error) {
	b.mu.Lock()
	b.prune(f)
	if len(f.askers) == 0 {
		b.mu.Unlock()
		return wire.BundleURLAck{}, errNobodyWaits
	}
	next := f.askers[0]
	f.askers = append(f.askers[1:], next)
	b.mu.Unlock()
	at, err := next.where(ctx)
	if err != nil {
		return at, fmt.Errorf("ask for the bundle: %w", err)
	}
	return at, nil
}

// prune forgets who has stopped waiting; the caller holds the lock.
func (b *bundles) prune(f *flight) {
	f.askers = slices.DeleteFunc(f.askers, func(a asker) bool {
		select {
		case <-a.gone:
			return true
		default:
			return false
		}
	})
}

func (b *bundles) fly(ctx context.Context, f *flight, path string, spec wire.PodSpec) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	go func() {
		select {
		case <-b.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	if sameDigest(path, spec.BundleSHA256) != nil {
		f.err = b.fetch(ctx, f, path, spec)
	}
	b.mu.Lock()
	for errors.Is(f.err, errNobodyWaits) && len(f.askers) > 0 { // somebody came at the last moment
		b.mu.Unlock()
		f.err = b.fetch(ctx, f, path, spec)
		b.mu.Lock()
	}
	if f.err == nil {
		b.checked[path] = stampOf(path)
	}
	delete(b.flights, path)
	b.mu.Unlock()
	close(f.done)
	b.trim()
}

// fetch downloads with fresh addresses until it works, a few times.
func (b *bundles) fetch(ctx context.Context, f *flight, path string, spec wire.PodSpec) error {
	var err error
	for n := range fetchAttempts {
		if n > 0 {
			select {
			case <-time.After(fetchBackoff << n):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err = b.fetchOnce(ctx, f, path, spec); err == nil || errors.Is(err, errNobodyWaits) {
			return err
		}
		b.log.WarnContext(ctx, "a bundle could not be fetched", slog.String("digest", spec.BundleSHA256), slog.Any("error", err))
	}
	return &executor.RunError{Reason: api.ReasonBundleUnavailable, Message: err.Error()}
}

func (b *bundles) fetchOnce(ctx context.Context, f *flight, path string, spec wire.PodSpec) error {
	at, err := b.ask(ctx, f)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.URL, nil)
	if err != nil {
		return errors.New("fetch the bundle: the address cannot be read")
	}
	resp, err := b.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the URL is signed: not for logs
		}
		return fmt.Errorf("fetch the bundle: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch the bundle: status %d", resp.StatusCode)
	}
	return b.save(path, spec, resp.Body)
}

// save writes at most the size that was announced, and keeps it only when the
// digest is right.
func (b *bundles) save(path string, spec wire.PodSpec, body io.Reader) (err error) {
	f, err := os.CreateTemp(b.dir, ".tmp-*")
	if err != nil {
		return fmt.Errorf("keep the bundle: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	limit := int64(api.MaxBundleBytes)
	if spec.BundleSize > 0 {
		limit = min(limit, spec.BundleSize)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(body, limit+1))
	if err = errors.Join(err, f.Chmod(0o400), f.Close()); err != nil {
		return fmt.Errorf("fetch the bundle: %w", err)
	}
	if n > limit {
		return fmt.Errorf("the bundle is larger than the %d bytes announced", limit)
	}
	if hex.EncodeToString(sum.Sum(nil)) != spec.BundleSHA256 {
		return errors.New("the bundle has another digest than the pack")
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("keep the bundle: %w", err)
	}
	return nil
}

// trim removes the files that were not used for longest, beyond the limit; none that
// was used within the last hour.
func (b *bundles) trim() {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return // the next start that needs a file will say what is wrong
	}
	type file struct {
		path string
		size int64
		used time.Time
	}
	var files []file
	total := int64(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			path := filepath.Join(b.dir, e.Name())
			files = append(files, file{path, info.Size(), b.used[path]})
			total += info.Size()
		}
	}
	slices.SortFunc(files, func(a, c file) int { return a.used.Compare(c.used) })
	for _, f := range files {
		if total <= b.limit || time.Since(f.used) < time.Hour {
			return
		}
		if os.Remove(f.path) == nil {
			total -= f.size
			delete(b.checked, f.path)
			delete(b.used, f.path)
		}
	}
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime()}
}

func sameDigest(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != want {
		return errors.New("wrong digest")
	}
	return nil
}
