//go:build js

package browser

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"syscall/js"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
)

const (
	unresponsiveAfter = 60 * time.Second
	// defaultStorage is what a pod may keep that asks for no storage of its own.
	defaultStorage = 64 << 20
)

// Executor runs packs in workers of the tab. It implements executor.Executor.
type Executor struct {
	// Changed is told whenever what Running gives has changed. It must not block.
	Changed func()
	// Cores is how many cores a pod may take.
	Cores int

	mu      sync.Mutex
	alive   map[*controller]bool
	stopped map[string]bool // pods that the owner of the tab has stopped, by pod and incarnation
}

// Running is a run as the page shows it.
type Running struct {
	ID        string `json:"id"`
	PodID     string `json:"podId"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	Namespace string `json:"namespace"`
	State     string `json:"state"`
	MemoryMiB int64  `json:"memoryMiB"` // its limit
	CPU       int64  `json:"cpu"`       // its limit, in millicores
	Since     int64  `json:"since"`     // unix milliseconds
}

// Capabilities implements executor.Executor.
func (e *Executor) Capabilities() api.Capabilities {
	return api.Capabilities{Version: browserVersion(), OS: platform(), Features: []string{"isolation:worker", "ui"}}
}

// browserVersion gives the browser's product and version, as "Chromium/156".
func browserVersion() string {
	agent := js.Global().Get("navigator").Get("userAgent").String()
	for _, product := range []string{"Firefox/", "Edg/", "Chrome/", "Version/"} {
		if _, rest, ok := strings.Cut(agent, product); ok {
			v, _, _ := strings.Cut(rest, " ")
			return strings.Replace(product, "Version/", "Safari/", 1) + v
		}
	}
	return "unknown"
}

func platform() string {
	p := js.Global().Get("navigator").Get("platform")
	if p.Type() != js.TypeString {
		return ""
	}
	return p.String()
}

// Controller implements executor.Executor.
func (e *Executor) Controller(t executor.Task) (executor.Controller, error) {
	if !t.Spec.RuntimeTag.Fits(api.RuntimeBrowser) {
		return nil, &executor.RunError{Reason: api.ReasonPackLoadError, Message: "the pack does not run in a browser"}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped[ownerKey(t.Key)] {
		return nil, &executor.RunError{Reason: api.ReasonStopped, Message: stoppedByOwner}
	}
	return newController(e, t), nil
}

const stoppedByOwner = "the owner of the tab has stopped the pod"

func ownerKey(k api.RunKey) string { return k.PodID + "/" + strconv.Itoa(k.Incarnation) }

// Running gives the runs that are alive, in any order.
func (e *Executor) Running() []Running {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Running, 0, len(e.alive))
	for c := range e.alive {
		out = append(out, c.shown())
	}
	return out
}

// Usage implements executor.Sampler. No browser tells what a worker takes: how long its
// event loop stood still is all.
func (e *Executor) Usage() api.NodeUsage {
	u := api.NodeUsage{Pods: []api.PodUsage{}}
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.alive {
		if delay, ok := c.recentDelay(); ok && len(u.Pods) < api.MaxUsagePods {
			u.Pods = append(u.Pods, api.PodUsage{PodID: c.task.Key.PodID, Incarnation: c.task.Key.Incarnation, LoopDelayMS: delay})
		}
	}
	return u
}

// StopPod ends a pod by the wish of the tab's owner, at once. It does not start here
// again in this incarnation.
func (e *Executor) StopPod(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.alive {
		if c.id != id {
			continue
		}
		if e.stopped == nil {
			e.stopped = map[string]bool{}
		}
		e.stopped[ownerKey(c.task.Key)] = true
		c.kill(api.ReasonStopped, stoppedByOwner)
	}
}

func (e *Executor) track(c *controller, alive bool) {
	e.mu.Lock()
	if e.alive == nil {
		e.alive = map[*controller]bool{}
	}
	if alive {
		e.alive[c] = true
	} else {
		delete(e.alive, c)
	}
	e.mu.Unlock()
	e.changed()
}

func (e *Executor) changed() {
	if e.Changed != nil {
		e.Changed()
	}
}

// cached reports whether a bundle is in the cache; with an address it is fetched.
func cached(ctx context.Context, t executor.Task, address any) (bool, error) {
	v, err := call(ctx, "bundle", t.Spec.BundleSHA256, t.Spec.BundleSize, address)
	if err != nil {
		return false, err
	}
	return v.Bool(), nil
}

// startOrder is what web/agent.js needs to start a run.
func (c *controller) startOrder() (string, error) {
	t := c.task
	storage := int64(defaultStorage)
	if t.Spec.Limits.Storage > 0 {
		storage = int64(t.Spec.Limits.Storage) << 20
	}
	raw, err := json.Marshal(map[string]any{
		"id": c.id, "ui": t.Spec.Metadata[api.MetadataUI], "digest": t.Spec.BundleSHA256, "format": t.Spec.Format,
		"pod": t.Pod(api.RuntimeBrowser), "env": t.Environment(), "cores": max(c.e.Cores, 1),
		"unresponsiveMs": t.UnresponsiveAfter(unresponsiveAfter).Milliseconds(), "storageBytes": storage,
	})
	return string(raw), err
}
