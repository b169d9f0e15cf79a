package pod

import (
	"fmt"
	"strings"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// Next is the pod as its next incarnation is run, whose pack is k. It is only what a
// node is told; the pod itself stays what it is.
func Next(p api.Pod, k api.Pack) api.Pod {
	if p.Rollout != nil {
		p.Incarnation = p.Rollout.Incarnation
	}
	p.PackID, p.PackVersion, p.RuntimeTag = k.ID, k.Version, k.RuntimeTag
	p.Restarts, p.Rollout = 0, nil
	return p
}

// NextWanted reports whether the node of a pod should run its next incarnation too.
func NextWanted(p api.Pod) bool { return p.Rollout != nil && Wanted(p) }

// RolloutVerdict says what a report makes of a rollout.
type RolloutVerdict int

// The verdicts.
const (
	RolloutGoesOn RolloutVerdict = iota
	RolloutDone                  // the next incarnation is ready and becomes the pod
	RolloutFailed                // it has ended before it was ready; the present one stays
)

// RolloutChange is what a report about the next incarnation does to the pod.
type RolloutChange struct {
	Change
	Verdict RolloutVerdict
}

// NextForRollout says what a report about the next incarnation of a pod makes of the
// pod. The first end of it before it was ready is the end of the rollout: what the
// restart policy would do with it does not count while the present version runs. It
// fails as NextForReport does.
func NextForRollout(p api.Pod, nodeID string, r wire.RunReport) (RolloutChange, error) {
	if p.Rollout == nil || r.Incarnation != p.Rollout.Incarnation {
		return RolloutChange{}, fault.New(fault.Stale, "pod %s has no incarnation %d", p.ID, r.Incarnation)
	}
	if p.NodeID == nil || *p.NodeID != nodeID {
		return RolloutChange{}, fault.New(fault.Forbidden, "pod %s does not run on this node", p.ID)
	}
	switch r.Status {
	case api.RunRunning:
		if !r.Ready {
			return RolloutChange{}, nil
		}
		return RolloutChange{Verdict: RolloutDone, Change: Change{
			Status: api.PodRunning, Restarts: max(0, r.Attempt-1), LastTermination: p.LastTermination, StartedAt: &r.At,
		}}, nil
	case api.RunExited:
		why := r.Reason
		if r.Termination != nil {
			why = r.Termination.Reason
			if line := gist(r.Termination.Message); line != "" { // the rest is with the run
				why += ": " + line
			}
		}
		return RolloutChange{Verdict: RolloutFailed, Change: Change{
			Reason:  api.ReasonRollbackFailed,
			Message: fmt.Sprintf("version %s ended before it was ready (%s); version %s runs on", p.Rollout.PackVersion, why, p.PackVersion),
		}}, nil
	case api.RunStarting, api.RunStopping:
		return RolloutChange{}, nil
	default:
		return RolloutChange{}, fault.New(fault.Validation, "a node may not report the status %q", r.Status)
	}
}

// gist is the line of what ended a run that says why. Node.js puts the place of a syntax
// error, and the code there, before the error itself.
func gist(message string) string {
	first, rest, _ := strings.Cut(message, "\n")
	if i := strings.LastIndexByte(first, ':'); i < 0 || !number(first[i+1:]) {
		return first
	}
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, "SyntaxError: ") {
			return strings.TrimSuffix(line, "\n")
		}
	}
	return first
}

func number(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
