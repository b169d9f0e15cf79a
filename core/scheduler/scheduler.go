package scheduler

import (
	"context"
	"log/slog"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Binder makes decisions true. It re-checks each pod's status and incarnation and
// gives back those decisions that came too late; verdicts are stored, and replaced
// by later ones. Victims are told to leave in the transaction that stores the verdict
// of the pod that they make room for, all of them or none. It must not keep ds.
type Binder interface {
	Bind(ctx context.Context, ds []Decision) (stale []Decision, err error)
}

// Settler is a Binder that can tell when the read model knows of all that was bound, also
// by a leader before and by a Bind whose outcome nobody has heard: Settle waits for that.
// Before, the room of such pods looks free.
type Settler interface {
	Settle(ctx context.Context) error
}

const (
	batchSize  = 2000 // decisions per Bind
	manyPlaced = 500  // pods of one pass, more than would gather in a rest
	// podsAhead is how many changes of pods may wait while a crowd is planned and bound:
	// a scheduler that falls behind is sent every pod anew.
	podsAhead    = 1 << 14
	cheapPass    = 2 * time.Millisecond
	longestRest  = 50 * time.Millisecond
	firstRetry   = 100 * time.Millisecond
	longestRetry = 5 * time.Second
	lookEvery    = 5 * time.Second // for parked pods whose back-off is over
)

// Run plans and binds until ctx ends, whose error it returns. It must not run
// twice at once over one database; see the package's model.
func Run(ctx context.Context, st *store.Store, b Binder, log *slog.Logger) error {
	select {
	case <-st.Synced():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := newLoop(ctx, st, b, log)
	defer l.binding.wait()
	retry, rest := time.Duration(0), time.Duration(0)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		if !pause(ctx, rest) || !l.wait(ctx, look.C) {
			return context.Cause(ctx)
		}
		began := time.Now()
		err := l.settle(ctx)
		if err == nil {
			err = l.pass(ctx, began)
		}
		if err != nil {
			l.unsettled = true
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			retry = min(max(2*retry, firstRetry), longestRetry)
			log.WarnContext(ctx, "scheduler could not bind", slog.Any("error", err), slog.Duration("retry_in", retry))
			rest = retry
			l.soon()
			continue
		}
		if l.binding.open == 0 { // what is on its way may fail yet
			retry = 0
		}
		rest = restAfter(time.Since(began), l.placed)
	}
}

// restAfter keeps the loop below half a core: dear passes are followed by a rest
// in which a burst gathers, cheap ones are not, nor those that were dear because they
// placed a crowd: the next part of it is there already.
func restAfter(took time.Duration, placed int) time.Duration {
	if took < cheapPass || placed >= manyPlaced {
		return 0
	}
	return min(took, longestRest)
}

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// loop is the state of Run, owned by its goroutine.
type loop struct {
	st     *store.Store
	binder Binder
	log    *slog.Logger
	again  chan struct{}

	pods   <-chan []store.Event[api.Pod]
	nodes  <-chan store.Event[api.Node]
	others <-chan struct{}
	behind [2]bool // pods, nodes: what exists is being sent
	known  uint64  // version of the nodes that have been taken in

	knownPods uint64 // version of the pods that have been taken in
	unsettled bool   // something may be bound that the read model does not know of

	unseen map[string]struct{} // pods or nodes that what exists has not named yet
	lost   map[string]struct{}

	x        *index
	versions [4]uint64             // of configs, members, namespaces and priority classes
	active   map[string]struct{}   // pods to be planned
	parked   map[string]*parking   // pods that wait for an event
	bound    map[string]assumption // decisions that the read model does not show yet
	verdicts map[string]string     // what was last stored per pod
	news     news                  // what happened since the last pass
	placed   int                   // pods that the last pass has given nodes
	binding  binding
	bindErr  error // why a batch failed, until a pass has told
}

// assumption is a bound decision and the node's owner of the room meanwhile.
type assumption struct {
	incarnation int
	nodeID      string
	seen        *api.Pod // as it was taken in last, if it comes out that it was not bound
}

func newLoop(ctx context.Context, st *store.Store, b Binder, log *slog.Logger) *loop {
	others := make(chan struct{}, 1)
	for _, c := range []<-chan struct{}{
		st.Configs.Notify(ctx), st.Members.Notify(ctx), st.Namespaces.Notify(ctx), st.PriorityClasses.Notify(ctx),
	} {
		go forward(ctx, c, others)
	}
	l := &loop{
		st: st, binder: b, log: log, again: make(chan struct{}, 1), others: others,
		pods: st.Pods.WatchMany(ctx, podsAhead), nodes: st.Nodes.Watch(ctx), behind: [2]bool{true, true},
		unseen: map[string]struct{}{}, lost: map[string]struct{}{},
		active: map[string]struct{}{}, parked: map[string]*parking{},
		bound: map[string]assumption{}, verdicts: map[string]string{},
		binding: binding{done: make(chan bindResult, bindsAtOnce)}, unsettled: true,
	}
	l.rebuild()
	return l
}

func forward(ctx context.Context, from <-chan struct{}, to chan<- struct{}) {
	for {
		select {
		case <-from:
		case <-ctx.Done():
			return
		}
		select {
		case to <- struct{}{}:
		default:
		}
	}
}

// settle waits, where it may be otherwise, until all that is bound is taken in.
func (l *loop) settle(ctx context.Context) error {
	s, ok := l.binder.(Settler)
	if !l.unsettled || !ok {
		return nil
	}
	if err := s.Settle(ctx); err != nil {
		return err
	}
	for want := l.st.Pods.Snapshot().Version(); l.knownPods < want || l.behind[0]; {
		select {
		case some, ok := <-l.pods:
			if !ok {
				return context.Cause(ctx)
			}
			l.podEvents(some)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	l.catchUp(ctx)
	l.unsettled = false
	return nil
}

func (l *loop) soon() {
	select {
	case l.again <- struct{}{}:
	default:
	}
}

// wait waits for something to do, and takes in all that has happened. It reports
// false when ctx has ended.
func (l *loop) wait(ctx context.Context, look <-chan time.Time) bool {
	for first := true; first || l.behind != [2]bool{} || l.crowded(); first = false {
		select {
		case r := <-l.binding.done:
			l.bindEnded(ctx, r)
		case some := <-l.pods:
			l.podEvents(some)
		case e, ok := <-l.nodes:
			if ok {
				l.nodeEvent(e)
			}
		case <-l.others:
		case <-look:
		case <-l.again:
		case <-ctx.Done():
			return false
		}
		l.drain()
		l.catchUp(ctx)
	}
	return ctx.Err() == nil
}

// catchUp takes in every node that came before the pods that are known: the two are
// told of by two channels, of which either may be ahead.
func (l *loop) catchUp(ctx context.Context) {
	for want := l.st.Nodes.Snapshot().Version(); l.known < want; {
		select {
		case e, ok := <-l.nodes:
			if !ok {
				return
			}
			l.nodeEvent(e)
		case <-ctx.Done():
			return
		}
	}
}

// drain takes in what has happened already, without waiting for more.
func (l *loop) drain() {
	for {
		select {
		case some, ok := <-l.pods:
			if !ok {
				return
			}
			l.podEvents(some)
		case e, ok := <-l.nodes:
			if !ok {
				return
			}
			l.nodeEvent(e)
		default:
			return
		}
	}
}

// crowded reports whether the end of a crowd is still being bound, and of the next part of
// it too little has come to be planned meanwhile.
func (l *loop) crowded() bool { return l.binding.open > 0 && len(l.active) < manyPlaced }

// pass plans all that is to be planned, and binds what comes of it, while the next
// batch is planned. Of a crowd the last batches may still be on their way to their nodes:
// without verdicts, since nobody can tell one that stands from one that does not.
func (l *loop) pass(ctx context.Context, now time.Time) error {
	l.refresh()
	l.wake(now)
	pods := make([]*api.Pod, 0, len(l.active))
	for id := range l.active {
		if e := l.x.pods[id]; e != nil && waiting(e.pod) {
			pods = append(pods, e.pod)
		}
	}
	clear(l.active)
	l.placed = 0
	pods = inOrder(pods)
	for len(pods) > 0 {
		some := pods[:min(batchSize, len(pods))]
		pods = pods[len(some):]
		decisions := l.fresh(l.x.plan(some, now), now)
		for i := range decisions {
			if decisions[i].NodeID != "" {
				l.placed++
			}
		}
		if err := l.bind(ctx, decisions); err != nil {
			for _, p := range pods { // those that were not planned any more
				l.active[p.ID] = struct{}{}
			}
			return err
		}
	}
	if l.placed >= manyPlaced && !l.binding.refuses {
		return nil
	}
	return l.bind(ctx, nil)
}
