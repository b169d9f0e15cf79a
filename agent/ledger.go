package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	identityKey = "identity"
	runPrefix   = "run."
	// maxUnacked bounds the terminal reports that are kept per pod while the server
	// cannot be reached; the newest count.
	maxUnacked = 8
)

// identity is who this node is. The credential is a secret.
type identity struct {
	NodeID     string `json:"nodeId"`
	Name       string `json:"name"`
	Credential string `json:"credential,omitempty"`
	// Proposed is a credential that the agent has made itself and that the server may
	// know already: whether it does was not heard, or not kept.
	Proposed string `json:"proposed,omitempty"`
}

// record is what must be known of a pod in one incarnation after a restart.
type record struct {
	mu  sync.Mutex
	ref wire.PodRef

	LastAttempt int               `json:"lastAttempt"`
	Alive       bool              `json:"alive"` // LastAttempt has begun and was not seen to end
	Policy      api.RestartPolicy `json:"policy"`
	FirstStart  time.Time         `json:"firstStart"`
	Last        *wire.RunReport   `json:"last,omitempty"` // the newest terminal report; Final in it ends the incarnation
	Unacked     []wire.RunReport  `json:"unacked,omitempty"`
}

// ledger keeps the records in memory and in State.
type ledger struct {
	state State
	mu    sync.Mutex
	runs  map[wire.PodRef]*record
}

func newLedger(s State) *ledger {
	return &ledger{state: s, runs: map[wire.PodRef]*record{}}
}

func (l *ledger) loadIdentity(ctx context.Context) (identity, error) {
	var id identity
	raw, err := l.state.Get(ctx, identityKey)
	if err != nil {
		return id, fmt.Errorf("read the node's identity: %w", err)
	}
	if raw == nil {
		return id, nil
	}
	if err := json.Unmarshal(raw, &id); err != nil {
		// The text of the error could quote the credential.
		return id, errors.New("read the node's identity: the stored value is damaged")
	}
	return id, nil
}

func (l *ledger) saveIdentity(ctx context.Context, id identity) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return fmt.Errorf("encode the node's identity: %w", err)
	}
	if err := l.state.Put(ctx, identityKey, raw); err != nil {
		return fmt.Errorf("keep the node's identity: %w", err)
	}
	return nil
}

// load reads all records. Attempts that were alive when the last agent died have
// ended with it: they are given their terminal report here. It returns every report
// that is not acknowledged. A damaged record is an error: to go on without it could
// start a key twice.
func (l *ledger) load(ctx context.Context, now time.Time) ([]wire.RunReport, error) {
	keys, err := l.state.Keys(ctx, runPrefix)
	if err != nil {
		return nil, fmt.Errorf("list the kept runs: %w", err)
	}
	var pending []wire.RunReport
	for _, key := range keys {
		ref, ok := parseRunKey(key)
		if !ok {
			continue
		}
		raw, err := l.state.Get(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		r := &record{ref: ref}
		if err := json.Unmarshal(raw, r); err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		l.runs[ref] = r
		if r.Alive {
			if err := l.end(ctx, agentDied(r, now)); err != nil {
				return nil, err
			}
		}
		pending = append(pending, r.Unacked...)
	}
	return pending, nil
}

func agentDied(r *record, now time.Time) wire.RunReport {
	const message = "the node's agent ended while the run was alive"
	return wire.RunReport{
		RunKey:      api.RunKey{PodID: r.ref.PodID, Incarnation: r.ref.Incarnation, Attempt: r.LastAttempt},
		Status:      api.RunExited,
		Reason:      api.ReasonAgentRestarted,
		Message:     message,
		Termination: &api.Termination{Reason: api.ReasonAgentRestarted, Message: message, Attempt: r.LastAttempt, FinishedAt: now},
		Final:       r.Policy == api.RestartNever,
		At:          now,
	}
}

// begin claims the next attempt, above what the control plane and this node know,
// and has written it down on return.
func (l *ledger) begin(ctx context.Context, a wire.Assignment, now time.Time) (api.RunKey, time.Time, error) {
	r := l.record(wire.PodRef{PodID: a.PodID, Incarnation: a.Incarnation})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.LastAttempt = max(r.LastAttempt, a.LastAttempt) + 1
	r.Alive, r.Policy = true, a.Pod.RestartPolicy
	if r.FirstStart.IsZero() {
		r.FirstStart = now
	}
	key := api.RunKey{PodID: a.PodID, Incarnation: a.Incarnation, Attempt: r.LastAttempt}
	if err := l.write(ctx, r); err != nil {
		r.Alive = false
		return key, r.FirstStart, err
	}
	return key, r.FirstStart, nil
}

// end writes a terminal report down.
func (l *ledger) end(ctx context.Context, rep wire.RunReport) error {
	r := l.record(refOf(rep.RunKey))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.LastAttempt = max(r.LastAttempt, rep.Attempt)
	r.Alive, r.Last = false, &rep
	r.Unacked = append(withoutKey(r.Unacked, rep.RunKey), rep)
	r.Unacked = r.Unacked[max(0, len(r.Unacked)-maxUnacked):]
	return l.write(ctx, r)
}

// ack forgets a report that the control plane has taken or refused.
func (l *ledger) ack(ctx context.Context, key api.RunKey) error {
	r := l.find(refOf(key))
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rest := withoutKey(r.Unacked, key); len(rest) != len(r.Unacked) {
		r.Unacked = rest
		return l.write(ctx, r)
	}
	return nil
}

// forget drops a record once nothing in it is owed to the control plane; it reports
// whether it did.
func (l *ledger) forget(ctx context.Context, ref wire.PodRef) (bool, error) {
	r := l.find(ref)
	if r == nil {
		return true, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Alive || len(r.Unacked) > 0 {
		return false, nil
	}
	l.mu.Lock()
	delete(l.runs, ref)
	l.mu.Unlock()
	if err := l.state.Delete(ctx, runKey(ref)); err != nil {
		return true, fmt.Errorf("forget a run: %w", err)
	}
	return true, nil
}

// last gives the newest terminal report and the highest attempt of a pod.
func (l *ledger) last(ref wire.PodRef) (*wire.RunReport, int) {
	r := l.find(ref)
	if r == nil {
		return nil, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Last, r.LastAttempt
}

// refs lists every pod that has a record.
func (l *ledger) refs() []wire.PodRef {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]wire.PodRef, 0, len(l.runs))
	for ref := range l.runs {
		out = append(out, ref)
	}
	return out
}

func (l *ledger) find(ref wire.PodRef) *record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs[ref]
}

func (l *ledger) record(ref wire.PodRef) *record {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.runs[ref]
	if r == nil {
		r = &record{ref: ref}
		l.runs[ref] = r
	}
	return r
}

func (l *ledger) write(ctx context.Context, r *record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a run: %w", err)
	}
	if err := l.state.Put(ctx, runKey(r.ref), raw); err != nil {
		return fmt.Errorf("write down a run: %w", err)
	}
	return nil
}

func refOf(k api.RunKey) wire.PodRef {
	return wire.PodRef{PodID: k.PodID, Incarnation: k.Incarnation}
}

func runKey(ref wire.PodRef) string {
	return runPrefix + ref.PodID + "." + strconv.Itoa(ref.Incarnation)
}

func parseRunKey(key string) (wire.PodRef, bool) {
	pod, inc, ok := strings.Cut(strings.TrimPrefix(key, runPrefix), ".")
	n, err := strconv.Atoi(inc)
	return wire.PodRef{PodID: pod, Incarnation: n}, ok && err == nil
}

func withoutKey(reports []wire.RunReport, key api.RunKey) []wire.RunReport {
	out := make([]wire.RunReport, 0, len(reports)+1)
	for _, r := range reports {
		if r.RunKey != key {
			out = append(out, r)
		}
	}
	return out
}
