//go:build unix

package nodejs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
)

// killSlack is how much longer than the grace the agent waits for the host's own
// kill before it kills the whole host.
const killSlack = time.Second

// controller drives one run. It implements executor.Controller.
type controller struct {
	e    *Executor
	task executor.Task
	id   string

	ready     chan struct{}
	readyOnce sync.Once
	ended     chan struct{}
	endOnce   sync.Once
	result    api.Termination                 // valid once ended is closed
	said      atomic.Pointer[api.Termination] // the host's word, while the host still lives
	delay     atomic.Int64                    // of the event loop, milliseconds, by the last pulse
	bytes     atomic.Int64                    // that the pack's heap and buffers take, by the last pulse

	mu      sync.Mutex
	file    string
	host    *host
	stopped bool // Shutdown or Remove came
}

func newController(e *Executor, t executor.Task) *controller {
	return &controller{
		e: e, task: t, ready: make(chan struct{}), ended: make(chan struct{}),
		id: t.Key.PodID + "/" + strconv.Itoa(t.Key.Incarnation) + "/" + strconv.Itoa(t.Key.Attempt),
	}
}

// Prepare implements executor.Controller: the bundle is in the cache then.
func (c *controller) Prepare(ctx context.Context) error {
	file, err := c.e.bundles.get(ctx, c.task.Spec, c.task.Bundle)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file = file
	return nil
}

// Start implements executor.Controller.
func (c *controller) Start(ctx context.Context) error {
	c.e.pool.begin()
	defer c.e.pool.finish()
	c.mu.Lock()
	file, stopped := c.file, c.stopped
	c.mu.Unlock()
	if stopped {
		return executor.ErrEnded
	}
	if file == "" {
		return errors.New("start before prepare")
	}
	h, err := c.place(ctx)
	if err != nil {
		return fmt.Errorf("start a host: %w", err)
	}
	if !c.settle(h) {
		h.detach(c)
		return executor.ErrEnded
	}
	if err := h.send(c.startOrder(file)); err != nil {
		h.kill(api.ReasonHostCrashed, err.Error())
	}
	select {
	case <-c.ready:
		return nil
	case <-c.ended:
		select {
		case <-c.ready: // it was ready, and has ended since: Wait tells
			return nil
		default:
			return executor.ErrEnded
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settle notes the host, unless the run was stopped in the meantime.
func (c *controller) settle(h *host) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.host = h
	return !c.stopped
}

// place finds the host that the run belongs into.
func (c *controller) place(ctx context.Context) (*host, error) {
	heap := int(c.task.Spec.Limits.Memory)
	if c.task.Spec.Isolation != api.IsolationShared {
		for {
			h, err := c.e.pool.take(ctx, heap)
			if err != nil || h.attach(c, 1) {
				return h, err
			}
		}
	}
	return c.placeShared(ctx, heap)
}

// placeShared finds room in a host of the same owner and namespace. One run at a time
// looks, so that a burst shares the host that its first run starts.
func (c *controller) placeShared(ctx context.Context, heap int) (*host, error) {
	g := c.e.group(c.task.Spec.OwnerID + "\x00" + c.task.Spec.Namespace)
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	g.hosts = slices.DeleteFunc(g.hosts, func(h *host) bool { return h.isDead() })
	for _, h := range g.hosts {
		if h.attach(c, c.e.opts.MaxShared) {
			return h, nil
		}
	}
	for {
		h, err := c.e.pool.take(ctx, heap)
		if err != nil {
			return nil, err
		}
		if h.attach(c, c.e.opts.MaxShared) {
			g.hosts = append(g.hosts, h)
			return h, nil
		}
	}
}

func (c *controller) startOrder(file string) order {
	return order{
		Type: "start", ID: c.id, File: file, Heap: int(c.task.Spec.Limits.Memory), Env: c.task.Environment(),
		UnresponsiveMS: c.task.UnresponsiveAfter(c.e.opts.UnresponsiveAfter).Milliseconds(),
		Pod:            c.task.Pod(api.RuntimeNode), StorageBytes: int64(c.task.Spec.Limits.Storage) * mebibyte,
	}
}

// Wait implements executor.Controller.
func (c *controller) Wait(ctx context.Context) (api.Termination, error) {
	select {
	case <-c.ended:
		return c.result, nil
	case <-ctx.Done():
		return api.Termination{}, context.Cause(ctx)
	}
}

// Shutdown implements executor.Controller.
func (c *controller) Shutdown(ctx context.Context) error {
	h := c.stop()
	if h == nil {
		c.finish(api.Termination{Reason: api.ReasonStopped, Message: "stopped before it had begun"})
		return nil
	}
	o := order{Type: "stop", ID: c.id}
	if deadline, ok := ctx.Deadline(); ok {
		o.GraceMS = new(max(time.Until(deadline).Milliseconds(), 0))
	}
	if err := h.send(o); err != nil {
		h.kill(api.ReasonStopped, "the host did not listen")
	}
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
	}
	late := time.NewTimer(killSlack)
	defer late.Stop()
	select {
	case <-c.ended:
		return nil
	case <-late.C:
	}
	h.kill(api.ReasonStopped, "did not stop and was killed with its host")
	<-c.ended
	return nil
}

// stop notes that the run shall not begin any more, and gives its host if it has.
func (c *controller) stop() *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	return c.host
}

// Remove implements executor.Controller.
func (c *controller) Remove(ctx context.Context) error {
	h := c.stop()
	if h == nil {
		c.finish(api.Termination{Reason: api.ReasonStopped, Message: "removed before it had begun"})
		return nil
	}
	select {
	case <-c.ended:
		return nil
	default:
	}
	if c.task.Spec.Isolation == api.IsolationShared {
		if err := h.send(order{Type: "kill", ID: c.id, Reason: api.ReasonStopped, Message: "removed"}); err != nil {
			h.kill(api.ReasonStopped, "the host did not listen")
		}
	} else {
		h.kill(api.ReasonStopped, "removed")
	}
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		h.kill(api.ReasonStopped, "removed")
		return fmt.Errorf("remove: %w", context.Cause(ctx))
	}
}

// outcome takes the host's word on how the run ended. In a host of its own the run
// has ended when the process is gone.
func (c *controller) outcome(n notice) {
	t := &api.Termination{
		Reason: n.Reason, Message: n.Message, FinishedAt: time.Now().UTC(),
		Usage: api.Usage{CPUMillis: n.CPUMS, LoopDelayMS: max(n.DelayMS, 0)},
	}
	if n.Reason == api.ReasonCompleted || n.Reason == api.ReasonError || n.Reason == api.ReasonPackLoadError {
		t.ExitCode = new(n.Code)
	}
	c.said.Store(t)
	c.mu.Lock()
	h := c.host
	c.mu.Unlock()
	if c.task.Spec.Isolation == api.IsolationShared {
		c.finish(*t)
		h.detach(c)
		return
	}
	h.mu.Lock()
	h.ending = true
	h.mu.Unlock()
	h.killGroup()
}

// finish is the end of the run; the first one counts.
func (c *controller) finish(t api.Termination) {
	c.endOnce.Do(func() {
		t.Attempt = c.task.Key.Attempt
		if t.FinishedAt.IsZero() {
			t.FinishedAt = time.Now().UTC()
		}
		c.result = t
		close(c.ended)
	})
}

// take hands output on. What the host sends is as good as its word: packs share it.
func (c *controller) take(n notice) {
	for i := range min(len(n.Streams), len(n.Times), len(n.Texts), len(n.Gaps)) {
		l := api.LogLine{Time: time.UnixMilli(n.Times[i]).UTC(), Stream: api.StreamLog, Line: n.Texts[i], Dropped: max(0, n.Gaps[i])}
		if s := n.Streams[i]; s > 0 && s < len(streams) {
			l.Stream = streams[s]
		}
		c.task.Output(l)
	}
}

// streams are named by numbers on the way here.
var streams = [...]string{api.StreamLog, "stdout", "stderr"}

func (c *controller) line(stream string, at time.Time, text string) {
	c.task.Output(api.LogLine{Time: at, Stream: stream, Line: text})
}
