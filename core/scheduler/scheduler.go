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
// by later ones. It must not keep ds.
type Binder interface {
	Bind(ctx context.Context, ds []Decision) (stale []Decision, err error)
}

const (
	batchSize    = 2000 // decisions per Bind
	cheapPass    = 2 * time.Millisecond
	longestRest  = 50 * time.Millisecond
	firstRetry   = 100 * time.Millisecond
	longestRetry = 5 * time.Second
	replanAfter  = 30 * time.Second // parked pods are looked at again, come what may
)

// Run plans and binds until ctx ends, whose error it returns. It must not run
// twice at once over one database; see the package's model.
func Run(ctx context.Context, st *store.Store, b Binder, log *slog.Logger) error {
	select {
	case <-st.Synced():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l := newLoop(st, b, log)
	wake := l.wakes(ctx)
	retry, rest := time.Duration(0), time.Duration(0)
	replan := time.NewTicker(replanAfter)
	defer replan.Stop()
	for {
		if !pause(ctx, rest) {
			return context.Cause(ctx)
		}
		select {
		case <-wake.pods:
		case <-wake.others:
		case <-replan.C:
			clear(l.parked)
		case <-l.again:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		began := time.Now()
		if err := l.pass(ctx, began); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			retry = min(max(2*retry, firstRetry), longestRetry)
			log.WarnContext(ctx, "scheduler could not bind", slog.Any("error", err), slog.Duration("retry_in", retry))
			rest = retry
			l.soon()
			continue
		}
		retry = 0
		rest = restAfter(time.Since(began))
	}
}

// restAfter keeps the loop below half a core: dear passes are followed by a rest
// in which a burst gathers, cheap ones are not.
func restAfter(took time.Duration) time.Duration {
	if took < cheapPass {
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

	bound    map[string]assumption // decisions that the read model does not show yet
	parked   map[string]mark       // pods that wait for an event
	verdicts map[string]string     // what was last stored per pod
	holders  map[string]struct{}   // pods that held room at the last pass
	others   [3]uint64             // versions of the tables that can free parked pods

	pods  []api.Pod // scratch, reused by each pass
	nodes []api.Node
}

// assumption is a bound decision and the node's owner of the room meanwhile.
type assumption struct {
	incarnation int
	nodeID      string
}

func newLoop(st *store.Store, b Binder, log *slog.Logger) *loop {
	return &loop{
		st: st, binder: b, log: log, again: make(chan struct{}, 1),
		bound: map[string]assumption{}, parked: map[string]mark{}, verdicts: map[string]string{},
		holders: map[string]struct{}{},
	}
}

type wakeUps struct{ pods, others <-chan struct{} }

// wakes subscribes to everything that a plan depends on.
func (l *loop) wakes(ctx context.Context) wakeUps {
	others := make(chan struct{}, 1)
	for _, c := range []<-chan struct{}{
		l.st.Nodes.Notify(ctx), l.st.Configs.Notify(ctx), l.st.Members.Notify(ctx),
	} {
		go forward(ctx, c, others)
	}
	return wakeUps{pods: l.st.Pods.Notify(ctx), others: others}
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

func (l *loop) soon() {
	select {
	case l.again <- struct{}{}:
	default:
	}
}

// pass plans once and binds what came of it.
func (l *loop) pass(ctx context.Context, now time.Time) error {
	s := l.snapshot()
	decisions := l.news(Plan(s, now))
	for len(decisions) > 0 {
		batch := decisions[:min(batchSize, len(decisions))]
		decisions = decisions[len(batch):]
		if err := l.bind(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// snapshot takes the read model, adds what was bound meanwhile, and leaves out
// what is parked.
func (l *loop) snapshot() Snapshot {
	nodes, configs, members := l.st.Nodes.Snapshot(), l.st.Configs.Snapshot(), l.st.Members.Snapshot()
	pods := l.st.Pods.Snapshot()
	if others := [3]uint64{nodes.Version(), configs.Version(), members.Version()}; others != l.others {
		l.others = others
		clear(l.parked)
	}
	l.nodes = l.nodes[:0]
	private := map[string]bool{}
	for _, n := range nodes.All() {
		l.nodes = append(l.nodes, n)
		for _, ns := range n.Namespaces {
			private[ns] = true
		}
	}
	if l.gaveRoomBack(pods) {
		clear(l.parked)
	}
	l.takePods(pods)
	s := Snapshot{Nodes: l.nodes, Pods: l.pods}
	s.Config, _ = configs.Get("default")
	for _, m := range members.All() {
		if private[m.Namespace] {
			s.Members = append(s.Members, m)
		}
	}
	return s
}

// gaveRoomBack reports whether a pod that held room at the last pass no longer does.
func (l *loop) gaveRoomBack(pods store.View[api.Pod]) bool {
	if len(l.parked) == 0 {
		return false
	}
	for id := range l.holders {
		if p, ok := pods.Get(id); !ok || !holds(&p) {
			if a, assumed := l.bound[id]; !assumed || !ok || p.Status.Terminal() || a.incarnation != p.Incarnation {
				return true
			}
		}
	}
	return false
}
