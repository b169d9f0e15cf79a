package postgres

import (
	"cmp"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// ledger holds the locked pods and runs of one batch of reports and what the
// reports make of them. It does no I/O.
type ledger struct {
	nodeID string
	now    time.Time // of the transaction
	pods   map[string]*podState
	runs   map[api.RunKey]*runState
}

type podState struct {
	api.Pod
	lastAttempt int
	changed     bool
}

type runState struct {
	api.Run
	changed bool
}

func newLedger(nodeID string, now time.Time) *ledger {
	return &ledger{nodeID: nodeID, now: now, pods: map[string]*podState{}, runs: map[api.RunKey]*runState{}}
}

// know takes in a run of a pod that is locked, or of none.
func (l *ledger) know(r api.Run) {
	l.runs[r.RunKey] = &runState{Run: r}
	if p := l.pods[r.PodID]; p != nil && r.Incarnation == p.Incarnation && r.Status != api.RunAssigned {
		p.lastAttempt = max(p.lastAttempt, r.Attempt)
	}
}

// podIDs lists the pods of reports once each.
func podIDs(reports []wire.RunReport) []string {
	ids := make([]string, 0, len(reports))
	for _, r := range reports {
		if api.ValidID(r.PodID) {
			ids = append(ids, strings.ToLower(r.PodID))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// take judges every report, oldest run first.
func (l *ledger) take(reports []wire.RunReport) (accepted []api.RunKey, refused []wire.Refusal) {
	sorted := slices.Clone(reports)
	slices.SortStableFunc(sorted, func(a, b wire.RunReport) int {
		return cmp.Or(strings.Compare(a.PodID, b.PodID), cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Attempt, b.Attempt))
	})
	for _, r := range sorted {
		if err := l.takeOne(l.clean(r)); err != nil {
			refused = append(refused, wire.Refusal{Key: r.RunKey, Code: string(fault.CodeOf(err))})
			continue
		}
		accepted = append(accepted, r.RunKey)
	}
	return accepted, refused
}

// Bounds of columns; what is longer is cut.
const (
	maxReason  = 128
	maxMessage = 2048 // bytes, below the column's 4096 characters
)

// clean cuts what a node says to what can be stored: no NUL, no text without
// bound, no time that has not come yet.
func (l *ledger) clean(r wire.RunReport) wire.RunReport {
	r.Reason, r.Message = cut(r.Reason, maxReason), cut(r.Message, maxMessage)
	r.At = l.clamp(r.At)
	if r.Termination != nil {
		t := *r.Termination
		t.Reason, t.Message, t.Signal = cut(t.Reason, maxReason), cut(t.Message, maxMessage), cut(t.Signal, maxReason)
		if len(t.LastOutput) > api.MaxLastOutput { // its end tells more than its beginning
			t.LastOutput = t.LastOutput[len(t.LastOutput)-api.MaxLastOutput:]
		}
		t.LastOutput = cut(t.LastOutput, math.MaxInt)
		t.FinishedAt, t.Attempt = l.clamp(t.FinishedAt), r.Attempt
		r.Termination = &t
	}
	return r
}

// clamp takes a node's clock where it can be right.
func (l *ledger) clamp(t time.Time) time.Time {
	if t.IsZero() || t.After(l.now) {
		return l.now
	}
	return t
}

func cut(s string, most int) string {
	s = strings.ReplaceAll(s, "\x00", "")
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func (l *ledger) takeOne(r wire.RunReport) error {
	p := l.pods[r.PodID]
	if p == nil || r.Attempt < 1 || r.Incarnation < 1 || r.Attempt > math.MaxInt32 {
		return fault.New(fault.NotFound, "no such run")
	}
	run := l.runs[r.RunKey]
	if run != nil && run.NodeID != l.nodeID {
		return fault.New(fault.Forbidden, "the run belongs to another node")
	}
	if run == nil && r.Incarnation < p.Incarnation {
		return fault.New(fault.Stale, "the pod has moved on")
	}
	if run != nil && run.Status != r.Status && !pod.RunCanMove(run.Status, r.Status) {
		return fault.New(fault.Stale, "the run has moved on")
	}
	// A report of a run that has ended, or was given up, is known already.
	repeated := run != nil && pod.RunEnded(run.Status)
	if p.Rollout != nil && r.Incarnation == p.Rollout.Incarnation {
		return l.takeNext(p, run, r)
	}
	if run != nil && r.Incarnation > p.Incarnation { // of a next version that was given up: no news of the pod
		l.moveRun(p, run, r)
		return nil
	}
	change, err := pod.NextForReport(p.Pod, l.nodeID, p.lastAttempt, r)
	if err != nil {
		return err
	}
	if run == nil && p.Status.Terminal() {
		return fault.New(fault.Stale, "the pod has ended")
	}
	l.moveRun(p, run, r)
	if change.Applies() && (!repeated || !p.Status.Terminal()) {
		l.movePod(p, change)
	}
	return nil
}

// takeNext takes the report of an incarnation that is to replace the present one.
func (l *ledger) takeNext(p *podState, run *runState, r wire.RunReport) error {
	change, err := pod.NextForRollout(p.Pod, l.nodeID, r)
	if err != nil {
		return err
	}
	l.moveRun(p, run, r)
	switch change.Verdict {
	case pod.RolloutGoesOn:
		return nil
	case pod.RolloutDone:
		p.PackID, p.PackVersion, p.Incarnation = p.Rollout.PackID, p.Rollout.PackVersion, p.Rollout.Incarnation
		p.lastAttempt = r.Attempt
		l.movePod(p, change.Change)
	case pod.RolloutFailed:
		p.Reason, p.StatusMessage = change.Reason, cut(change.Message, maxMessage)
	}
	p.Rollout, p.changed = nil, true
	return nil
}

func (l *ledger) moveRun(p *podState, run *runState, r wire.RunReport) {
	if run == nil {
		pack := p.PackID
		if p.Rollout != nil && r.Incarnation == p.Rollout.Incarnation {
			pack = p.Rollout.PackID
		}
		run = &runState{Run: api.Run{RunKey: r.RunKey, NodeID: l.nodeID, PackID: pack, Status: api.RunAssigned}}
		l.runs[r.RunKey] = run
	}
	before := run.Run
	run.Status = r.Status
	if run.StartedAt == nil {
		run.StartedAt = &r.At
	}
	if run.ReadyAt == nil && r.Status == api.RunRunning && r.Ready {
		run.ReadyAt = &r.At
	}
	if pod.RunEnded(r.Status) && (!pod.RunEnded(before.Status) || untold(before)) {
		run.FinishedAt, run.Termination = &r.At, r.Termination
	}
	run.changed = run.changed || !reflect.DeepEqual(before, run.Run)
	if r.Incarnation == p.Incarnation {
		p.lastAttempt = max(p.lastAttempt, r.Attempt)
	}
	l.closeOlder(r)
}

// endUntold is the end of a run whose node has begun the next attempt without a word
// on this one: its agent has lost its state. Should the word come after all, it counts.
const endUntold = "the node never told the end of this attempt; a later one has begun"

func untold(r api.Run) bool { return r.Termination != nil && r.Termination.Message == endUntold }

// closeOlder ends what a node still seems to run of earlier attempts: it runs one at
// a time.
func (l *ledger) closeOlder(r wire.RunReport) {
	for key, old := range l.runs {
		if key.PodID != r.PodID || key.Incarnation != r.Incarnation || key.Attempt >= r.Attempt ||
			old.NodeID != l.nodeID || pod.RunEnded(old.Status) {
			continue
		}
		old.Status, old.FinishedAt, old.changed = api.RunExited, &r.At, true
		old.Termination = &api.Termination{
			Reason: api.ReasonAgentRestarted, Message: endUntold, Attempt: key.Attempt, FinishedAt: r.At,
		}
	}
}

func (l *ledger) movePod(p *podState, c pod.Change) {
	if c.Status != p.Status && !pod.CanMove(p.Status, c.Status) {
		return
	}
	before := p.Pod
	p.Status, p.Reason, p.StatusMessage = c.Status, c.Reason, c.Message
	p.Restarts, p.LastTermination = c.Restarts, c.LastTermination
	p.StartedAt, p.StoppedAt = c.StartedAt, c.StoppedAt
	if c.Status == api.PodPending { // evicted, and its run has ended: it takes its next incarnation elsewhere
		p.Incarnation, p.NodeID, p.Eviction = p.Incarnation+1, nil, nil
		p.lastAttempt = 0
	}
	p.changed = p.changed || !reflect.DeepEqual(before, p.Pod)
}

// endsIn gives the namespaces in which pods have ended.
func (l *ledger) endsIn() (names []string) {
	for _, p := range l.pods {
		if p.changed && p.Status.Terminal() {
			names = append(names, p.Namespace)
		}
	}
	return names
}

// changed gives the changed rows, by the names of their columns.
func (l *ledger) changed() (runs, pods []map[string]any) {
	for key, r := range l.runs {
		if r.changed {
			runs = append(runs, map[string]any{
				"pod_id": key.PodID, "incarnation": key.Incarnation, "attempt": key.Attempt, "node_id": r.NodeID, "pack_id": r.PackID,
				"status": r.Status, "termination": r.Termination, "started_at": r.StartedAt, "ready_at": r.ReadyAt, "finished_at": r.FinishedAt,
			})
		}
	}
	for id, p := range l.pods {
		if p.changed {
			pods = append(pods, map[string]any{
				"id": id, "status": p.Status, "reason": orNull(p.Reason), "message": orNull(p.StatusMessage), "restarts": p.Restarts,
				"pack_id": p.PackID, "incarnation": p.Incarnation, "rolling": p.Rollout != nil,
				"last_termination": p.LastTermination, "started_at": p.StartedAt, "stopped_at": p.StoppedAt,
			})
		}
	}
	return runs, pods
}
