//go:build js

package browser

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"syscall/js"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
)

const (
	fetchAttempts = 4
	fetchBackoff  = 200 * time.Millisecond
	lineHead      = 13 // bytes before the text of a line, as in web/agent.js
)

// streams are those of a pod, by the numbers that web/agent.js gives them.
var streams = [...]string{"log", "stdout", "stderr"} //nolint:gochecknoglobals // it never changes

// controller drives one run. It implements executor.Controller.
type controller struct {
	e    *Executor
	task executor.Task
	id   string

	ready     chan struct{}
	readyOnce sync.Once
	ended     chan struct{}
	endOnce   sync.Once
	result    api.Termination // valid once ended is closed

	mu      sync.Mutex
	state   string
	since   time.Time
	pod     js.Value // of web/agent.js; undefined until it was started
	started bool
	stopped bool // Shutdown or Remove came
	event   js.Func
}

func newController(e *Executor, t executor.Task) *controller {
	return &controller{
		e: e, task: t, ready: make(chan struct{}), ended: make(chan struct{}), pod: js.Undefined(),
		id: t.Key.PodID + "/" + strconv.Itoa(t.Key.Incarnation) + "/" + strconv.Itoa(t.Key.Attempt),
	}
}

func (c *controller) shown() Running {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.task.Spec
	return Running{
		ID: c.id, PodID: c.task.Key.PodID, Name: s.Name, Version: s.PackVersion, Namespace: s.Namespace,
		State: c.state, MemoryMiB: int64(s.Limits.Memory), CPU: int64(s.Limits.CPU), Since: c.since.UnixMilli(),
	}
}

func (c *controller) show(state string) {
	c.mu.Lock()
	c.state = state
	c.mu.Unlock()
	c.e.changed()
}

// recentDelay is how long the event loop stood still, in milliseconds, at most since it
// was asked for; false before the run was started.
func (c *controller) recentDelay() (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pod.Truthy() {
		return 0, false
	}
	return int64(c.pod.Call("recentDelay").Int()), true
}

// Prepare implements executor.Controller: the bundle is in the cache then.
func (c *controller) Prepare(ctx context.Context) error {
	if has, err := cached(ctx, c.task, nil); has || ctx.Err() != nil {
		return err
	}
	var err error
	for n := range fetchAttempts {
		if n > 0 {
			select {
			case <-time.After(fetchBackoff << n):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err = c.fetch(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return &executor.RunError{Reason: api.ReasonBundleUnavailable, Message: err.Error()}
}

func (c *controller) fetch(ctx context.Context) error {
	at, err := c.task.Bundle(ctx)
	if err != nil {
		return fmt.Errorf("ask for the bundle: %w", err)
	}
	_, err = cached(ctx, c.task, at.URL)
	return err
}

// Start implements executor.Controller.
func (c *controller) Start(ctx context.Context) error {
	if err := c.launch(ctx); err != nil {
		return err
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

func (c *controller) launch(ctx context.Context) error {
	order, err := c.startOrder()
	if err != nil {
		return fmt.Errorf("encode the start of a run: %w", err)
	}
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return executor.ErrEnded
	}
	c.started, c.state, c.since = true, "starting", time.Now()
	c.event = js.FuncOf(func(_ js.Value, args []js.Value) any { c.hear(args[0].String(), args[1:]); return nil })
	c.mu.Unlock()
	c.e.track(c, true)
	pod, err := call(context.WithoutCancel(ctx), "start", order, c.event)
	if err != nil {
		c.finish(api.Termination{Reason: api.ReasonHostCrashed, Message: err.Error()})
		return executor.ErrEnded
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pod = pod
	if c.stopped {
		pod.Call("kill", api.ReasonStopped, "stopped before it had begun")
	}
	return nil
}

// hear takes what web/agent.js tells of the run. It never waits.
func (c *controller) hear(event string, body []js.Value) {
	switch event {
	case "ready":
		c.readyOnce.Do(func() { close(c.ready) })
		c.show("running")
	case "lines":
		raw := make([]byte, body[0].Length())
		js.CopyBytesToGo(raw, body[0])
		c.lines(raw, body[1].Int())
	case "end":
		var o struct {
			Reason, Message string
			Code            *int
			DelayMS         int64 `json:"delayMs"`
		}
		if err := json.Unmarshal([]byte(body[0].String()), &o); err != nil {
			o.Reason, o.Message = api.ReasonError, "the outcome could not be read"
		}
		c.finish(api.Termination{Reason: o.Reason, Message: o.Message, ExitCode: o.Code, Usage: api.Usage{LoopDelayMS: o.DelayMS}})
	}
}

// lines takes apart what web/agent.js has packed.
func (c *controller) lines(packed []byte, dropped int) {
	if dropped > 0 { // they came before those that were kept
		c.task.Output(api.LogLine{Time: time.Now().UTC(), Stream: streams[0], Dropped: dropped})
	}
	for len(packed) >= lineHead {
		stream, millis := streams[packed[0]], math.Float64frombits(binary.LittleEndian.Uint64(packed[1:]))
		end := lineHead + int(binary.LittleEndian.Uint32(packed[9:]))
		c.task.Output(api.LogLine{Time: time.UnixMilli(int64(millis)).UTC(), Stream: stream, Line: string(packed[lineHead:end])})
		packed = packed[end:]
	}
}

// finish is the end of the run; the first one counts.
func (c *controller) finish(t api.Termination) {
	c.endOnce.Do(func() {
		t.Attempt = c.task.Key.Attempt
		t.FinishedAt = time.Now().UTC()
		c.result = t
		close(c.ended)
		c.e.track(c, false)
	})
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
	if !c.halt(func(pod js.Value) { pod.Call("stop") }) {
		c.finish(api.Termination{Reason: api.ReasonStopped, Message: "stopped before it had begun"})
		return nil
	}
	c.show("stopping")
	began := time.Now()
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
	}
	grace := strconv.FormatFloat(time.Since(began).Round(100*time.Millisecond).Seconds(), 'f', -1, 64)
	c.kill(api.ReasonStopped, "did not stop within "+grace+" s and was killed")
	<-c.ended // the browser has a second to end the worker, then its frame goes
	return nil
}

// Remove implements executor.Controller.
func (c *controller) Remove(ctx context.Context) error {
	if !c.halt(func(pod js.Value) { pod.Call("kill", api.ReasonStopped, "removed") }) {
		c.finish(api.Termination{Reason: api.ReasonStopped, Message: "removed before it had begun"})
		return nil
	}
	select {
	case <-c.ended:
		c.event.Release()
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("remove: the worker has not ended"), context.Cause(ctx))
	}
}

// halt notes that the run shall not begin any more, calls f if it has, and reports that.
func (c *controller) halt(f func(pod js.Value)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.pod.Truthy() {
		f(c.pod)
	}
	return c.started
}

func (c *controller) kill(reason, message string) {
	c.halt(func(pod js.Value) { pod.Call("kill", reason, message) })
}
