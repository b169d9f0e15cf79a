package dispatch

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// wantedSet is what a session's node has been told to run, and how far it has
// acknowledged. Frames are queued under its lock, so that they leave in the order
// of their numbers.
type wantedSet struct {
	mu      sync.Mutex
	nodeID  string
	runs    map[string]wire.Assignment // by pod; nil until the first complete set
	next    map[string]wire.Assignment // by pod: the incarnations that are to replace those of runs
	missed  map[string]struct{}        // pods that changed while a complete set was read
	stops   map[string]*stop           // by pod: those of runs that the node has not told the end of
	named   map[string]bool            // by pod: what the node says is alive on it; nil once a set was sent after it
	reading bool
	seq     uint64
	acked   uint64
	sent    time.Time // of the oldest frame that is not acknowledged
}

func (w *wantedSet) node() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodeID
}

// begin makes the set that of a node; it reports whether it was nobody's.
func (w *wantedSet) begin(nodeID string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.nodeID == ""
	w.nodeID = nodeID
	return first
}

// acknowledge takes in the agent's word that it has everything up to seq.
func (w *wantedSet) acknowledge(seq uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq > w.seq {
		return fault.New(fault.Validation, "number %d has not been sent", seq)
	}
	if seq > w.acked {
		w.acked, w.sent = seq, time.Now()
	}
	return nil
}

// overdue reports whether something sent before has not been acknowledged in time.
func (s *session) overdue(now time.Time, limit time.Duration) bool {
	w := &s.wanted
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked < w.seq && !w.reading && now.Sub(w.sent) > limit
}

// resync asks for the complete set to be sent.
func (s *session) resync() { s.sets.make() }

// serveWanted sends the complete set for as long as it is wished for.
func (s *session) serveWanted(ctx context.Context, nodeID string) {
	const retryAfter = time.Second
	for s.sets.take() {
		err := s.sendSet(ctx, nodeID)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			continue
		}
		s.log.WarnContext(ctx, "the wanted set could not be read", slog.Any("error", err))
		s.sets.make()
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return
		}
	}
}

// sendSet reads the complete set from the database and sends it. Pods that change
// meanwhile are looked at again afterwards.
func (s *session) sendSet(ctx context.Context, nodeID string) error {
	w := &s.wanted
	w.mu.Lock()
	w.reading, w.missed = true, map[string]struct{}{}
	w.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := s.d.DB.Wanted(call, nodeID)
	var parts []wire.RunsSet
	if err == nil {
		parts, err = split(list)
	}
	w.mu.Lock()
	if err != nil {
		defer w.mu.Unlock()
		w.reading = false
		return err
	}
	w.runs, w.next = make(map[string]wire.Assignment, len(list)), map[string]wire.Assignment{}
	for _, a := range list { // by incarnation
		if _, two := w.runs[a.PodID]; two {
			w.next[a.PodID] = a
		} else {
			w.runs[a.PodID] = a
		}
	}
	w.seq++
	w.sent, w.acked = time.Now(), w.seq-1
	s.setTold()
	seq := w.seq
	w.mu.Unlock()
	err = s.sendParts(ctx, seq, parts) // without the lock: it takes as long as the node reads
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reading, w.sent = false, time.Now()
	if err != nil {
		return err
	}
	pods := s.d.Store.Pods.Snapshot()
	for _, id := range slices.Sorted(maps.Keys(w.missed)) {
		if p, ok := pods.Get(id); ok {
			s.applyLocked(p)
		} else if _, known := w.runs[id]; known {
			s.drop(id)
		}
	}
	return nil
}

// sendParts queues the parts of a set at the speed at which the node reads them.
func (s *session) sendParts(ctx context.Context, seq uint64, parts []wire.RunsSet) error {
	for _, part := range parts {
		frame, err := encode(wire.TypeRunsSet, "", seq, part)
		if err != nil {
			return err
		}
		if !s.out.offer(ctx.Done(), frame) {
			return ctx.Err()
		}
	}
	return nil
}

// partBytes is how much of a frame the assignments of one part may fill; the rest is
// for the envelope.
const partBytes = wire.MaxMessage - 4096

// split makes the parts of a complete set, at least one. An assignment alone is less
// than a frame: the bounds of what a pod may carry see to that.
func split(list []wire.Assignment) ([]wire.RunsSet, error) {
	parts := []wire.RunsSet{{Runs: []wire.Assignment{}}}
	size := 0
	for _, a := range list {
		raw, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		if size > 0 && size+len(raw)+1 > partBytes {
			parts[len(parts)-1].More = true
			parts, size = append(parts, wire.RunsSet{Part: len(parts)}), 0
		}
		last := &parts[len(parts)-1]
		last.Runs, size = append(last.Runs, a), size+len(raw)+1
	}
	return parts, nil
}

// apply tells the node what a change of a pod means to it, if anything.
func (s *session) apply(p api.Pod) {
	w := &s.wanted
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reading || w.runs == nil {
		if w.missed != nil {
			w.missed[p.ID] = struct{}{}
		}
		return
	}
	s.applyLocked(p)
}

// applyLocked is apply with the lock held. What the set says may be newer than p.
func (s *session) applyLocked(p api.Pod) {
	w := &s.wanted
	old, known := w.runs[p.ID]
	if known && p.Incarnation < old.Incarnation {
		return
	}
	if p.NodeID == nil || *p.NodeID != w.nodeID || !pod.HoldsNode(p.Status) {
		if known && (p.Incarnation > old.Incarnation || p.Status.Terminal()) {
			s.drop(p.ID)
		}
		return
	}
	a, ok := s.d.assignment(p)
	next, complete := s.d.nextAssignment(p)
	if !ok || !complete {
		s.resync() // a pack is not in the read model yet; the database has it
		return
	}
	var d wire.RunsDelta
	if !known || p.Incarnation != old.Incarnation || (old.Desire != wire.DesireStop || a.Desire != wire.DesireRun) && !same(old, a) {
		w.runs[p.ID] = a
		s.stopTold(a)
		d.Put = append(d.Put, a)
		if known && p.Incarnation != old.Incarnation {
			d.Remove = append(d.Remove, refOf(old))
		}
	}
	if !s.applyNext(p, next, &d) {
		s.resync()
		return
	}
	if len(d.Put)+len(d.Remove) > 0 {
		s.delta(d)
	}
}

// applyNext adds what the incarnation that replaces a pod's present one means to the
// node. It reports false where the read model and the set disagree, and only the
// database knows which of them is older.
func (s *session) applyNext(p api.Pod, next *wire.Assignment, d *wire.RunsDelta) bool {
	w := &s.wanted
	old, known := w.next[p.ID]
	switch {
	case known && p.Incarnation == old.Incarnation: // it has become the pod
		delete(w.next, p.ID)
		known = false
	case known && next == nil && p.Incarnation < old.Incarnation && pod.Wanted(p):
		return false
	case known && (next == nil || next.Incarnation != old.Incarnation):
		if next != nil && next.Incarnation < old.Incarnation {
			return true // older than the set
		}
		delete(w.next, p.ID)
		d.Remove = append(d.Remove, refOf(old))
		known = false
	}
	if next != nil && (!known || !same(old, *next)) {
		w.next[p.ID] = *next
		d.Put = append(d.Put, *next)
	}
	return true
}

func refOf(a wire.Assignment) wire.PodRef {
	return wire.PodRef{PodID: a.PodID, Incarnation: a.Incarnation}
}

// same compares what the agent acts on; LastAttempt is history.
func same(a, b wire.Assignment) bool {
	a.LastAttempt, b.LastAttempt = 0, 0
	if a.StopReason == "" || b.StopReason == "" {
		a.StopReason, b.StopReason = "", ""
	}
	if a.Desire == wire.DesireStop && b.Desire == wire.DesireStop {
		return true
	}
	a.Pod, b.Pod = plain(a.Pod), plain(b.Pod)
	return reflect.DeepEqual(a, b)
}

// plain makes absent and empty maps alike.
func plain(p wire.PodSpec) wire.PodSpec {
	if len(p.Labels) == 0 {
		p.Labels = nil
	}
	if len(p.Env) == 0 {
		p.Env = nil
	}
	p.Metadata = nil // does not change how a run is started
	return p
}

// drop takes a pod out of the set, in all its incarnations.
func (s *session) drop(podID string) {
	w := &s.wanted
	var d wire.RunsDelta
	delete(w.stops, podID)
	for _, set := range []map[string]wire.Assignment{w.runs, w.next} {
		if a, known := set[podID]; known {
			d.Remove = append(d.Remove, refOf(a))
			delete(set, podID)
		}
	}
	s.delta(d)
}

// delta numbers and queues an increment; the lock is held.
func (s *session) delta(d wire.RunsDelta) {
	w := &s.wanted
	d.Prev = w.seq
	frame, err := encode(wire.TypeRunsDelta, "", w.seq+1, d)
	switch {
	case err != nil:
		s.log.Error("an increment could not be encoded", slog.Any("error", err))
		return
	case len(frame) > wire.MaxMessage || s.out.bytes()+int64(len(frame)) > outBytes/2:
		// Nobody waits here for room. The complete set does, and has this in it.
		s.resync()
		return
	}
	if w.acked == w.seq {
		w.sent = time.Now()
	}
	w.seq++
	s.enqueue(frame)
}

// remove tells the node that a pod's row is gone.
func (s *session) remove(podID string) {
	w := &s.wanted
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reading { // the set that is read may still have it
		w.missed[podID] = struct{}{}
		return
	}
	if _, known := w.runs[podID]; known {
		s.drop(podID)
	}
}

// assignment makes the entry of the wanted set for a pod; false when its pack is
// not in the read model.
func (d *Dispatcher) assignment(p api.Pod) (wire.Assignment, bool) {
	pack, ok := d.Store.Packs.Snapshot().Get(p.PackID)
	if !ok {
		return wire.Assignment{}, false
	}
	a := wire.Assignment{
		PodID: p.ID, Incarnation: p.Incarnation, Desire: wire.DesireRun,
		Pod: pod.Spec(p, pack),
	}
	if p.Status != api.PodScheduled {
		a.LastAttempt = p.Restarts + 1
	}
	if !pod.Wanted(p) {
		a.Desire, a.StopReason = wire.DesireStop, pod.StopReason(p)
	}
	return a, true
}

// nextAssignment is assignment for the incarnation that is to replace the pod's present
// one, nil where there is none.
func (d *Dispatcher) nextAssignment(p api.Pod) (a *wire.Assignment, complete bool) {
	if !pod.NextWanted(p) {
		return nil, true
	}
	pack, ok := d.Store.Packs.Snapshot().Get(p.Rollout.PackID)
	if !ok {
		return nil, false
	}
	next := pod.Next(p, pack)
	return &wire.Assignment{PodID: p.ID, Incarnation: next.Incarnation, Desire: wire.DesireRun, Pod: pod.Spec(next, pack)}, true
}
