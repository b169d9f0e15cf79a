package node

import (
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Keys of taints that the cluster sets by itself. The table of conditions that become
// taints is stark.condition_taints in supabase/migrations.
const (
	TaintUnreachable   = "node.stark.io/unreachable"   // no heartbeat: unhealthy or offline
	TaintNotReady      = "node.stark.io/not-ready"     // suspect, or it says so itself
	TaintMaintenance   = "node.stark.io/maintenance"   // its operator keeps it empty
	TaintUnschedulable = "node.stark.io/unschedulable" // cordoned
)

// unreachable is the taint of a node that does not answer.
var unreachable = api.Taint{Key: TaintUnreachable, Effect: api.NoExecute}

// Tolerance says how long a pod may stay on a node with a NoExecute taint: for ever,
// or for a time, which is zero where nothing tolerates it. As in Kubernetes the
// shortest tolerationSeconds among the tolerations that match counts, and pods that do
// not speak of a node's being away or not ready tolerate that for a while; otherwise is
// that while.
func Tolerance(taint api.Taint, tolerations []api.Toleration, otherwise time.Duration) (forever bool, d time.Duration) {
	matched, limited := false, false
	for _, t := range tolerations {
		if !t.Tolerates(taint) {
			continue
		}
		matched = true
		if t.TolerationSeconds == nil {
			continue
		}
		if seconds := seconds(*t.TolerationSeconds); !limited || seconds < d {
			limited, d = true, seconds
		}
	}
	switch {
	case limited:
		return false, d
	case matched:
		return true, 0
	case taint.Key == TaintUnreachable || taint.Key == TaintNotReady:
		return false, otherwise
	default:
		return false, 0
	}
}

func seconds(n int64) time.Duration {
	const most = int64(100 * 365 * 24 * 3600) // what does not overflow, and outlives every pod
	return time.Duration(min(max(n, 0), most)) * time.Second
}

// UnreachableTolerance is how long a pod stays bound to a node that does not answer.
func UnreachableTolerance(tolerations []api.Toleration, otherwise time.Duration) (forever bool, d time.Duration) {
	return Tolerance(unreachable, tolerations, otherwise)
}

// Leaves says which NoExecute taint of its node a pod has to leave by now, if any: the
// one whose time was over first. Being unreachable is left out: such a node cannot be
// told anything, and the sweep of silent nodes gives its pods up by the same tolerance.
func Leaves(taints []api.Taint, tolerations []api.Toleration, bound time.Time, otherwise time.Duration, now time.Time) (by api.Taint, leaves bool) {
	var first time.Time
	for _, taint := range taints {
		if taint.Effect != api.NoExecute || taint.Key == TaintUnreachable {
			continue
		}
		forever, d := Tolerance(taint, tolerations, otherwise)
		if forever {
			continue
		}
		since := bound
		if taint.TimeAdded != nil && taint.TimeAdded.After(since) {
			since = *taint.TimeAdded
		}
		if at := since.Add(d); !at.After(now) && (!leaves || at.Before(first)) {
			by, first, leaves = taint, at, true
		}
	}
	return by, leaves
}
