//go:build js

package browser

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall/js"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/shared/api"
)

// stopTimeout bounds a graceful stop: an owner who takes the tab back does not wait for
// the longest grace period that a pod may have.
const stopTimeout = 10 * time.Second

// The commands of the page.
const (
	commandJoin       = "join"       // be a node, with the settings that stand beside it
	commandPause      = "pause"      // stop all pods, leave the cluster, keep the identity
	commandStopPod    = "stopPod"    // end one run
	commandResumed    = "resumed"    // the tab was frozen and runs again
	commandOnline     = "online"     // the network is back
	commandConditions = "conditions" // what the tab is like now
	commandForget     = "forget"     // give up the identity; the node is paused
)

type command struct {
	T           string              `json:"t"`
	ID          string              `json:"id"`          // of stopPod
	URL         string              `json:"url"`         // of join, as everything below: address of the server
	Name        string              `json:"name"`        // of the node
	Token       string              `json:"token"`       // join token or user's token
	Version     string              `json:"version"`     // of the program
	Cores       int                 `json:"cores"`       // that a pod may use at a time
	CPU         api.Millicores      `json:"cpu"`         // to offer
	Memory      api.Mebibytes       `json:"memory"`      // to offer
	Pods        int                 `json:"pods"`        // to offer
	Labels      map[string]string   `json:"labels"`      // of the node
	Annotations map[string]string   `json:"annotations"` // of the node
	Namespaces  []string            `json:"namespaces"`  // that the node serves beside its owner's
	Conditions  []api.NodeCondition `json:"conditions"`  // of conditions
}

// program is the tab's agent between the page's commands. Its methods run in one goroutine.
type program struct {
	log        *slog.Logger
	exec       *Executor
	dialer     *Dialer
	wake       chan struct{}
	conditions atomic.Pointer[[]api.NodeCondition]
	changed    chan struct{} // has room for one: the conditions have changed

	stop  context.CancelFunc // of the agent that runs, or nil
	ended chan error
}

// Main works on the commands of the page, for ever.
func Main(ctx context.Context) {
	p := &program{dialer: &Dialer{}, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
	p.log = slog.New(console{})
	p.exec = &Executor{Changed: p.coalesce(ctx)}
	signal := make(chan struct{}, 1)
	f := js.FuncOf(func(js.Value, []js.Value) any { poke(signal); return nil })
	glue.Call("onCommand", f)
	for {
		for v := glue.Call("take"); v.Type() == js.TypeString; v = glue.Call("take") {
			var c command
			if err := json.Unmarshal([]byte(v.String()), &c); err != nil {
				p.log.ErrorContext(ctx, "a command of the page cannot be read", slog.Any("error", err))
				continue
			}
			p.do(ctx, c)
		}
		select {
		case <-signal:
		case err := <-p.ended:
			p.over(ctx, err)
		}
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// coalesce tells the page what runs, at most ten times a second.
func (p *program) coalesce(ctx context.Context) func() {
	changed := make(chan struct{}, 1)
	go func() {
		for range changed {
			tell(map[string]any{"t": "running", "runs": p.exec.Running()})
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { poke(changed) }
}

func (p *program) do(ctx context.Context, c command) {
	switch c.T {
	case commandJoin:
		p.join(ctx, c)
	case commandPause:
		if p.stop != nil {
			tell(map[string]any{"t": "state", "state": "stopping"})
			p.stop()
		} else {
			tell(map[string]any{"t": "state", "state": "paused"})
		}
	case commandStopPod:
		p.exec.StopPod(c.ID)
	case commandResumed:
		p.dialer.Drop("the tab was frozen")
		poke(p.wake)
	case commandOnline:
		poke(p.wake)
	case commandConditions:
		p.conditions.Store(&c.Conditions)
		poke(p.changed)
	case commandForget:
		p.forget(ctx)
	}
}

// forget drops the identity and what was kept of runs; it does nothing while the node is up.
func (p *program) forget(ctx context.Context) {
	if p.stop != nil {
		return
	}
	keys, err := State{}.Keys(ctx, "")
	for _, k := range keys {
		err = errors.Join(err, State{}.Delete(ctx, k))
	}
	if err != nil {
		tell(map[string]any{"t": "state", "state": "broken", "message": err.Error()})
		return
	}
	tell(map[string]any{"t": "state", "state": "forgotten"})
}

func (p *program) join(ctx context.Context, c command) {
	if p.stop != nil {
		return
	}
	p.exec.Cores = c.Cores
	a, err := agent.New(agent.Config{
		URL: c.URL, Name: c.Name, Token: c.Token, RuntimeType: api.RuntimeBrowser, Labels: c.Labels, Version: c.Version,
		Annotations: c.Annotations, Namespaces: c.Namespaces,
		Allocatable: &api.Capacity{CPU: c.CPU, Memory: c.Memory, Pods: c.Pods},
		Leave:       true, GiveUp: true, Random: random, Executor: p.exec, State: State{}, Dialer: p.dialer, Logger: p.log,
		Linked: p.linked, Wake: p.wake, Conditions: p.current, ConditionsChanged: p.changed, StopTimeout: stopTimeout, LogBytesPerPod: 256 << 10, LogBytes: 8 << 20,
	})
	if err != nil {
		tell(map[string]any{"t": "state", "state": "broken", "message": err.Error()})
		return
	}
	tell(map[string]any{"t": "state", "state": "connecting"})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	p.stop, p.ended = stop, ended
	go func() { ended <- a.Run(running) }()
}

func (p *program) current() []api.NodeCondition {
	if c := p.conditions.Load(); c != nil {
		return *c
	}
	return nil
}

func (*program) linked(connection string) {
	state := "online"
	if connection == "" {
		state = "connecting"
	}
	tell(map[string]any{"t": "state", "state": state, "connection": connection})
}

// over is told that the agent has ended.
func (p *program) over(ctx context.Context, err error) {
	p.stop()
	p.stop, p.ended = nil, nil
	refused, isRefused := errors.AsType[*agent.RefusedError](err)
	switch {
	case isRefused:
		p.log.WarnContext(ctx, "the server refuses this tab", slog.Any("error", err))
		tell(map[string]any{"t": "state", "state": "refused", "message": refused.Err.Error(), "help": refused.Help})
	case err != nil:
		tell(map[string]any{"t": "state", "state": "broken", "message": err.Error()})
	default:
		tell(map[string]any{"t": "state", "state": "paused"})
	}
}

func tell(v any) {
	if raw, err := json.Marshal(v); err == nil { // what is told can be encoded
		glue.Call("tell", string(raw))
	}
}

// console writes the agent's log where the page can show it. It is smaller than the
// handlers of package slog, which a tab would have to load.
type console struct{ attrs string }

// Enabled implements slog.Handler.
func (console) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle implements slog.Handler.
func (c console) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(c.attrs)
	r.Attrs(func(a slog.Attr) bool { b.WriteString(attrText(a)); return true })
	tell(map[string]any{"t": "log", "level": r.Level.String(), "text": b.String()})
	return nil
}

// WithAttrs implements slog.Handler.
func (c console) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		c.attrs += attrText(a)
	}
	return c
}

// WithGroup implements slog.Handler.
func (c console) WithGroup(string) slog.Handler { return c }

func attrText(a slog.Attr) string { return " " + a.Key + "=" + strconv.Quote(a.Value.String()) }
