package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	stateRetry    = 5 * time.Second // after a failed write of the state
	removeTimeout = 15 * time.Second
)

// stopOrder says why a pod is told to stop.
type stopOrder struct {
	reason  string
	message string
	final   bool // the incarnation is over
	drain   bool // the agent stops; the pod is wanted again when it returns
}

// pod is one pod in one incarnation; run is its goroutine.
type pod struct {
	agent      *Agent
	log        *slog.Logger
	ref        wire.PodRef
	ring       *ring
	assignment atomic.Pointer[wire.Assignment]
	state      atomic.Pointer[wire.RunState] // nil while no run is alive
	ready      time.Time                     // of the present attempt, zero before; run's own

	stopOnce sync.Once
	order    stopOrder // valid once stopping is closed
	stopping chan struct{}
}

func newPod(a *Agent, ref wire.PodRef, as wire.Assignment) *pod {
	p := &pod{
		agent: a, ref: ref, ring: a.logs.open(ref), stopping: make(chan struct{}),
		log: a.log.With(slog.String("pod", ref.PodID), slog.Int("incarnation", ref.Incarnation)),
	}
	p.assignment.Store(&as)
	return p
}

// stop tells the pod to stop; the first order counts.
func (p *pod) stop(o stopOrder) {
	p.stopOnce.Do(func() {
		p.order = o
		close(p.stopping)
	})
}

func (p *pod) stopped() bool {
	select {
	case <-p.stopping:
		return true
	default:
		return false
	}
}

// run makes attempts until the pod has ended, is stopped, or ctx ends.
func (p *pod) run(ctx context.Context) {
	defer p.agent.logs.close(p.ring)
	delay := time.Duration(0)
	for {
		key, first, err := p.agent.ledger.begin(ctx, *p.assignment.Load(), time.Now().UTC())
		if err != nil {
			p.log.ErrorContext(ctx, "the next attempt cannot be written down, so it is not started", slog.Any("error", err))
			if !p.pause(ctx, stateRetry) {
				p.abandon(ctx, key)
				return
			}
			continue
		}
		t := p.attempt(ctx, key, first)
		if ctx.Err() != nil && !p.stopped() {
			return // killed with the agent: the record says so to the next one
		}
		final := p.isFinal(t)
		if !p.ready.IsZero() && time.Since(p.ready) >= p.agent.cfg.Restart.HealthyAfter {
			delay = 0
		}
		delay = min(max(2*delay, p.agent.cfg.Restart.First), p.agent.cfg.Restart.Max)
		p.reportEnd(ctx, key, t, final, delay)
		if final || p.stopped() || !p.pause(ctx, delay) {
			if !final && p.stopped() && p.order.final {
				p.reportEnd(ctx, key, t, true, 0) // stopped while it waited to restart
			}
			return
		}
	}
}

// pause waits and reports whether the pod shall go on.
func (p *pod) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-p.stopping:
	case <-ctx.Done():
	}
	return false
}

// abandon confirms the stop of a pod whose attempt could never be written down.
func (p *pod) abandon(ctx context.Context, key api.RunKey) {
	if p.stopped() && p.order.final {
		p.reportEnd(ctx, key, api.Termination{Reason: orStopped(p.order.reason)}, true, 0)
	}
}

// isFinal applies the restart policy.
func (p *pod) isFinal(t api.Termination) bool {
	policy := p.assignment.Load().Pod.RestartPolicy
	if p.stopped() && (p.order.final || t.Reason == p.order.reason) {
		return p.order.final || policy == api.RestartNever
	}
	switch {
	case t.Reason == api.ReasonDeadlineExceeded, policy == api.RestartNever:
		return true
	case policy == api.RestartAlways:
		return false
	default:
		return t.Reason == api.ReasonCompleted
	}
}

func (p *pod) reportEnd(ctx context.Context, key api.RunKey, t api.Termination, final bool, delay time.Duration) {
	p.state.Store(nil)
	t.Attempt, t.Message = key.Attempt, storable(t.Message)
	if t.FinishedAt.IsZero() {
		t.FinishedAt = time.Now().UTC()
	}
	if t.LastOutput == "" {
		t.LastOutput = p.ring.tail(key.Attempt, api.MaxLastOutput)
	}
	rep := wire.RunReport{
		RunKey: key, Status: api.RunExited, Reason: t.Reason, Message: t.Message,
		Termination: &t, Final: final, At: time.Now().UTC(),
	}
	switch {
	case p.stopped() && p.order.final:
		rep.Reason = orStopped(p.order.reason)
	case !final && !p.stopped():
		next := rep.At.Add(delay)
		rep.Reason, t.RestartsAt = api.ReasonCrashLoopBackOff, &next
		rep.Message = fmt.Sprintf("ended with %s, starts again in %s", t.Reason, delay)
	}
	if err := p.agent.ledger.end(ctx, rep); err != nil {
		p.log.ErrorContext(ctx, "a report could not be written down", slog.Any("error", err))
	}
	p.agent.reporter.add(rep)
	p.log.InfoContext(ctx, "run ended", slog.Int("attempt", key.Attempt), slog.String("reason", t.Reason), slog.Bool("final", final))
}

func (p *pod) report(key api.RunKey, status api.RunStatus, message string) {
	p.state.Store(&wire.RunState{RunKey: key, Status: status})
	p.agent.reporter.add(wire.RunReport{
		RunKey: key, Status: status, Ready: status == api.RunRunning, Message: message, At: time.Now().UTC(),
	})
}

// attempt drives one run from assigned to its end.
func (p *pod) attempt(ctx context.Context, key api.RunKey, first time.Time) api.Termination {
	as := p.assignment.Load()
	p.ready = time.Time{}
	p.report(key, api.RunStarting, "")
	c, err := p.agent.cfg.Executor.Controller(executor.Task{
		Key: key, NodeID: p.agent.NodeID(), Spec: as.Pod,
		Bundle: func(ctx context.Context) (wire.BundleURLAck, error) { return p.agent.bundleURL(ctx, p.ref) },
		Output: func(l api.LogLine) {
			l.Attempt, l.Line = key.Attempt, storable(l.Line)
			p.ring.append(l)
		},
	})
	if err != nil {
		return api.Termination{Reason: api.ReasonError, Message: err.Error()}
	}
	defer p.remove(ctx, c)

	stepCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	steps := drive(stepCtx, api.Run{RunKey: key, NodeID: p.agent.NodeID(), PackID: as.Pod.PackID, Status: api.RunAssigned}, c)
	deadline, stopTimer := deadlineOf(as.Pod, first)
	defer stopTimer()
	for {
		select {
		case run := <-steps:
			if run.Termination != nil {
				return *run.Termination
			}
			if run.Status == api.RunRunning {
				p.ready = time.Now()
				p.report(key, api.RunRunning, "")
			}
		case <-deadline:
			o := stopOrder{reason: api.ReasonDeadlineExceeded, message: fmt.Sprintf("the pod's deadline of %d s has passed", *as.Pod.DeadlineSeconds)}
			return p.shutdown(ctx, cancel, c, key, steps, o)
		case <-p.stopping:
			return p.shutdown(ctx, cancel, c, key, steps, p.order)
		case <-ctx.Done():
			return api.Termination{Reason: api.ReasonAgentRestarted}
		}
	}
}

// drive steps a run forward in a goroutine of its own, which ends with the run or
// with ctx. The channel closes behind the last state.
func drive(ctx context.Context, run api.Run, c executor.Controller) <-chan api.Run {
	out := make(chan api.Run, 4) // more than there are steps: the sender never waits
	go func() {
		defer close(out)
		for run.Status != api.RunExited {
			next, err := executor.Step(ctx, run, c)
			if err != nil {
				return
			}
			run = next
			out <- run
		}
	}()
	return out
}

// shutdown stops a run within the pod's grace. How the run ended is what the
// executor says; why it was stopped is what the order says.
func (p *pod) shutdown(
	ctx context.Context, cancel context.CancelFunc, c executor.Controller, key api.RunKey, steps <-chan api.Run, o stopOrder,
) api.Termination {
	p.report(key, api.RunStopping, "")
	grace := time.Duration(max(p.assignment.Load().Pod.GraceSeconds, 0)) * time.Second
	graceCtx, cancelGrace := context.WithTimeout(ctx, grace)
	defer cancelGrace()
	if err := c.Shutdown(graceCtx); err != nil && ctx.Err() == nil {
		p.log.WarnContext(ctx, "the run did not stop cleanly", slog.Any("error", err))
	}
	t := api.Termination{}
	waitCtx, cancelWait := context.WithTimeout(ctx, removeTimeout)
	defer cancelWait()
	if ended, err := c.Wait(waitCtx); err == nil {
		t = ended
	}
	cancel()
	for run := range steps { // its driver must not outlive the controller
		if run.Termination != nil && t.Reason == "" {
			t = *run.Termination
		}
	}
	if t.Reason != "" && t.Reason != api.ReasonStopped {
		return t // it had ended by itself before it heard of the stop
	}
	t.Reason = orStopped(o.reason)
	if o.message != "" && t.Message != "" {
		t.Message = o.message + "; " + t.Message
	} else if o.message != "" {
		t.Message = o.message
	}
	return t
}

func (p *pod) remove(ctx context.Context, c executor.Controller) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := c.Remove(ctx); err != nil {
		p.log.ErrorContext(ctx, "a run could not be cleaned up", slog.Any("error", err))
	}
}

// storable takes out what Postgres cannot keep in text.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// deadlineOf gives a channel that fires at the pod's deadline, counted from its
// first start on this node.
func deadlineOf(spec wire.PodSpec, first time.Time) (<-chan time.Time, func()) {
	if spec.DeadlineSeconds == nil {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(first.Add(time.Duration(*spec.DeadlineSeconds) * time.Second)))
	return t.C, func() { t.Stop() }
}
