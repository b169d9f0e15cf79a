package agent

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// wanted is what the control plane wants of a pod in one incarnation.
type wanted int

const (
	wantNothing wanted = iota
	wantRun
	wantStop
)

// actual is what there is of it here.
type actual int

const (
	isAbsent   actual = iota
	isAlive           // its goroutine works, a restart back-off included
	isStopping        // its goroutine has been told to stop
	isEnded           // no goroutine; it has said its last word for this incarnation
)

// action is what follows.
type action int

const (
	doNothing action = iota
	doStart
	doUpdate  // tell the goroutine of the newer assignment
	doStop    // by wish of the control plane: the incarnation ends
	doDrop    // the control plane no longer knows it here: end it quietly
	doConfirm // say again, or for the first time, that it has ended
	doForget
)

// actions is the whole policy of the worker.
var actions = map[wanted]map[actual]action{
	wantRun:     {isAbsent: doStart, isAlive: doUpdate, isStopping: doNothing, isEnded: doConfirm},
	wantStop:    {isAbsent: doConfirm, isAlive: doStop, isStopping: doNothing, isEnded: doConfirm},
	wantNothing: {isAbsent: doForget, isAlive: doDrop, isStopping: doNothing, isEnded: doForget},
}

// change is a message of the server: a complete set or an increment.
type change struct {
	complete bool
	put      []wire.Assignment
	remove   []wire.PodRef
}

// worker owns the set of pods: everything below but commands and ended belongs to
// the goroutine of run.
type worker struct {
	agent    *Agent
	log      *slog.Logger
	commands chan func(ctx context.Context)
	ended    chan wire.PodRef
	done     chan struct{}

	wanted   map[wire.PodRef]wire.Assignment
	pods     map[wire.PodRef]*pod
	draining bool
	idle     []chan struct{} // closed when no pod is left
}

func newWorker(a *Agent) *worker {
	return &worker{
		agent: a, log: a.log,
		commands: make(chan func(context.Context)), ended: make(chan wire.PodRef), done: make(chan struct{}),
		wanted: map[wire.PodRef]wire.Assignment{}, pods: map[wire.PodRef]*pod{},
	}
}

// run owns the pods until ctx ends, then kills what is left and waits for it.
func (w *worker) run(ctx context.Context) {
	defer close(w.done)
	for {
		select {
		case f := <-w.commands:
			f(ctx)
		case ref := <-w.ended:
			w.gone(ctx, ref)
		case <-ctx.Done():
			for len(w.pods) > 0 {
				delete(w.pods, <-w.ended)
			}
			return
		}
	}
}

// do runs f in the owner's goroutine, with the owner's context, and waits for it.
func (w *worker) do(ctx context.Context, f func(ctx context.Context)) {
	ran := make(chan struct{})
	select {
	case w.commands <- func(ctx context.Context) { f(ctx); close(ran) }:
		<-ran
	case <-ctx.Done():
	case <-w.done:
	}
}

// want takes in a message of the server.
func (w *worker) want(ctx context.Context, c change) {
	w.do(ctx, func(ctx context.Context) { w.apply(ctx, c) })
}

// inventory lists the runs that are alive.
func (w *worker) inventory(ctx context.Context) []wire.RunState {
	var out []wire.RunState
	w.do(ctx, func(context.Context) {
		for _, p := range w.pods {
			if s := p.state.Load(); s != nil {
				out = append(out, *s)
			}
		}
	})
	return out
}

// settled is told when a report was acknowledged: what is neither wanted nor owed
// can be forgotten.
func (w *worker) settled(ctx context.Context, ref wire.PodRef) {
	w.do(ctx, func(ctx context.Context) {
		if w.wantedOf(ref) == wantNothing {
			w.reconcile(ctx, ref)
		}
	})
}

// stopAll stops every pod within its grace and returns when none is left or ctx has
// ended. Wanted sets that come later are ignored.
func (w *worker) stopAll(ctx context.Context) {
	left := make(chan struct{})
	w.do(ctx, func(context.Context) {
		w.draining = true
		for _, p := range w.pods {
			p.stop(stopOrder{reason: api.ReasonAgentRestarted, message: "the node's agent was stopped", drain: true})
		}
		w.idle = append(w.idle, left)
		w.checkIdle()
	})
	select {
	case <-left:
	case <-ctx.Done():
		w.log.WarnContext(ctx, "some pods outlive the time to stop, they are killed")
	}
}

func (w *worker) checkIdle() {
	if len(w.pods) > 0 {
		return
	}
	for _, ch := range w.idle {
		close(ch)
	}
	w.idle = nil
}

func (w *worker) gone(ctx context.Context, ref wire.PodRef) {
	delete(w.pods, ref)
	w.checkIdle()
	// A pod that was dropped and is wanted again starts now; one that was stopped
	// has reported so already.
	if !w.draining && w.wantedOf(ref) != wantStop && w.actualOf(ref) != isEnded {
		w.reconcile(ctx, ref)
	}
}

func (w *worker) apply(ctx context.Context, c change) {
	if w.draining {
		return
	}
	touched := map[wire.PodRef]bool{}
	if c.complete {
		for ref := range w.wanted {
			touched[ref] = true
		}
		for ref := range w.pods {
			touched[ref] = true
		}
		for _, ref := range w.agent.ledger.refs() {
			touched[ref] = true
		}
		clear(w.wanted)
	}
	for _, a := range c.put {
		ref := wire.PodRef{PodID: a.PodID, Incarnation: a.Incarnation}
		if !validID(a.PodID) {
			w.log.ErrorContext(ctx, "an assignment with a malformed pod id was ignored")
			continue
		}
		w.wanted[ref] = a
		touched[ref] = true
	}
	for _, ref := range c.remove {
		delete(w.wanted, ref)
		touched[ref] = true
	}
	for ref := range touched {
		w.reconcile(ctx, ref)
	}
}

func (w *worker) wantedOf(ref wire.PodRef) wanted {
	a, ok := w.wanted[ref]
	switch {
	case !ok:
		return wantNothing
	case a.Desire == wire.DesireStop:
		return wantStop
	default:
		return wantRun
	}
}

func (w *worker) actualOf(ref wire.PodRef) actual {
	if p := w.pods[ref]; p != nil {
		if p.stopped() {
			return isStopping
		}
		return isAlive
	}
	if last, _ := w.agent.ledger.last(ref); last != nil && last.Final {
		return isEnded
	}
	return isAbsent
}

func (w *worker) reconcile(ctx context.Context, ref wire.PodRef) {
	a := w.wanted[ref]
	switch actions[w.wantedOf(ref)][w.actualOf(ref)] {
	case doStart:
		w.start(ctx, ref, a)
	case doUpdate:
		w.pods[ref].assignment.Store(&a)
	case doStop:
		w.pods[ref].assignment.Store(&a)
		w.pods[ref].stop(stopOrder{reason: a.StopReason, final: true})
	case doDrop:
		w.pods[ref].stop(stopOrder{message: "the pod is no longer assigned to this node"})
	case doConfirm:
		w.confirm(ctx, ref, a)
	case doForget:
		if _, err := w.agent.ledger.forget(ctx, ref); err != nil {
			w.log.ErrorContext(ctx, "a run could not be forgotten", slog.Any("error", err))
		}
	case doNothing:
	}
}

func (w *worker) start(ctx context.Context, ref wire.PodRef, a wire.Assignment) {
	p := newPod(w.agent, ref, a)
	w.pods[ref] = p
	go func() {
		p.run(ctx)
		w.ended <- ref
	}()
}

// confirm tells the control plane that a pod has ended here, or was stopped before
// anything of it had begun; then its next attempt is used up.
func (w *worker) confirm(ctx context.Context, ref wire.PodRef, a wire.Assignment) {
	last, attempt := w.agent.ledger.last(ref)
	if last != nil && (last.Final || last.Attempt >= a.LastAttempt) {
		again := *last
		again.Final = true
		last = &again
	} else {
		now := time.Now().UTC()
		key := api.RunKey{PodID: ref.PodID, Incarnation: ref.Incarnation, Attempt: max(attempt, a.LastAttempt, 1)}
		reason := orStopped(a.StopReason)
		last = &wire.RunReport{
			RunKey: key, Status: api.RunExited, Reason: reason, Final: true, At: now,
			Termination: &api.Termination{Reason: reason, Attempt: key.Attempt, FinishedAt: now},
		}
	}
	if err := w.agent.ledger.end(ctx, *last); err != nil {
		w.log.ErrorContext(ctx, "a report could not be written down", slog.Any("error", err))
	}
	w.agent.reporter.add(*last)
}

// validID keeps ids fit for keys of State and names of files.
func validID(id string) bool {
	const allowed = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	return id != "" && len(id) <= 64 && strings.Trim(id, allowed) == ""
}

// orStopped fills in the reason of a stop for which none was given.
func orStopped(reason string) string {
	if reason == "" {
		return api.ReasonStopped
	}
	return reason
}
