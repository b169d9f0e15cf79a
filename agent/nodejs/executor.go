//go:build unix

package nodejs

import (
	"context"
	"crypto/sha256"
	_ "embed" // host.cjs is part of the program
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/stark-orchestrator/stark/agent/adapters"
	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/filestate"
	"github.com/stark-orchestrator/stark/shared/api"
)

//go:embed host.cjs
var hostSource string

// hostProgram is the whole program of a host.
var hostProgram = []byte(hostSource + "\n" + adapters.Script)

// Executor runs packs in Node.js hosts. It implements executor.Executor.
type Executor struct {
	opts    Options
	log     *slog.Logger
	node    string
	version string
	program string
	lock    *os.File // of the state folder
	bundles *bundles
	pool    *pool
	spawner *spawner
	cpu     cpuMeter // of the machine
	health  *health
	// attached wakes the watch when a host gets a pod.
	attached chan struct{}

	mu     sync.Mutex
	hosts  map[*host]bool
	shared map[string]*group // by owner and namespace
	closed bool
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New finds Node.js, prepares the state folder and begins to fill the warm pool. The
// executor works until Close; ctx bounds only what New itself does.
func New(ctx context.Context, o Options) (*Executor, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	node, version, err := Find(ctx, o.NodePath)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(hostProgram)
	e := &Executor{
		opts: o, log: o.Logger, node: node, version: version,
		program: filepath.Join(o.StateDir, "host-"+hex.EncodeToString(sum[:8])+".cjs"),
		hosts:   map[*host]bool{}, shared: map[string]*group{}, health: newHealth(),
		attached: make(chan struct{}, 1),
	}
	// Before anything is touched: the pods of another agent may live in there.
	if e.lock, err = filestate.Lock(o.StateDir); err != nil {
		return nil, fmt.Errorf("nodejs: %w", err)
	}
	if err := e.prepareDirs(); err != nil {
		return nil, errors.Join(err, e.lock.Close())
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.cancel = cancel
	e.bundles = newBundles(work.Done(), filepath.Join(o.StateDir, "bundles"), o)
	e.spawner = newSpawner()
	e.pool = newPool(e, o.WarmPool, int(o.DefaultMemory))
	e.wg.Go(e.spawner.run)
	e.wg.Go(func() { e.pool.run(work) })
	e.wg.Go(func() { e.watch(work) })
	return e, nil
}

// group is the shared hosts of one owner and namespace. Who holds the turn owns hosts.
type group struct {
	turn  chan struct{}
	hosts []*host
}

func (e *Executor) group(name string) *group {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.shared[name]
	if g == nil {
		g = &group{turn: make(chan struct{}, 1)}
		e.shared[name] = g
	}
	return g
}

// prepareDirs makes the folders; what a dead agent left of its pods goes,
// processes included.
func (e *Executor) prepareDirs() error {
	pods := filepath.Join(e.opts.StateDir, "pods")
	killStrays(pods)
	if err := os.RemoveAll(pods); err != nil {
		return fmt.Errorf("nodejs: clean the folders of pods: %w", err)
	}
	for _, dir := range []string{pods, filepath.Join(e.opts.StateDir, "bundles")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("nodejs: make a folder: %w", err)
		}
	}
	if err := writeAtomic(e.program, hostProgram, 0o400); err != nil {
		return fmt.Errorf("nodejs: write the host program: %w", err)
	}
	return nil
}

// Capabilities implements executor.Executor.
func (e *Executor) Capabilities() api.Capabilities {
	return api.Capabilities{
		Version: e.version, Arch: runtime.GOARCH, OS: runtime.GOOS,
		Features: []string{"isolation:process", "isolation:shared"},
	}
}

// Controller implements executor.Executor.
func (e *Executor) Controller(t executor.Task) (executor.Controller, error) {
	if !t.Spec.RuntimeTag.Fits(api.RuntimeNode) {
		return nil, &executor.RunError{Reason: api.ReasonPackLoadError, Message: "the pack does not run on Node.js"}
	}
	return newController(e, t), nil
}

// Warm waits until n warm hosts are there, which must not be more than the pool has.
func (e *Executor) Warm(ctx context.Context, n int) error {
	for {
		full, changed := e.pool.full(n)
		if full {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("nodejs: warm up: %w", context.Cause(ctx))
		}
	}
}

// Close kills every host and waits until nothing is left, or ctx ends.
func (e *Executor) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	hosts := make([]*host, 0, len(e.hosts))
	for h := range e.hosts {
		hosts = append(hosts, h)
	}
	e.mu.Unlock()
	e.cancel()
	for _, h := range hosts {
		h.kill(api.ReasonStopped, "the node's agent ends")
	}
	done := make(chan error, 1)
	go func() {
		for _, h := range hosts {
			<-h.dead
		}
		e.pool.wait()
		e.spawner.close()
		e.wg.Wait()
		done <- e.lock.Close()
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("nodejs: unlock the state folder: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("nodejs: close: %w", context.Cause(ctx))
	}
}

func writeAtomic(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
