package pod

import (
	"fmt"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// StopMargin is how much longer than its grace a stop may take before it is overdue. An
// agent ends a run by force after the grace, gives that and the cleaning up behind it 15 s
// each, and its report may have to wait for a connection.
const StopMargin = time.Minute

// Grace is how long a pod may take to end when it is told to.
func Grace(p api.Pod) time.Duration { return time.Duration(graceSeconds(p)) * time.Second }

func graceSeconds(p api.Pod) int {
	if evicted(p) && p.Eviction.GraceSeconds != nil {
		return *p.Eviction.GraceSeconds
	}
	return p.TerminationGracePeriodSeconds
}

// StopDue gives until when the node of a pod should have told its end; false where it has
// not been told to stop, or is not known to be there to tell.
func StopDue(p api.Pod) (time.Time, bool) {
	switch {
	case p.Status != api.PodStopping:
		return time.Time{}, false
	case p.StopRequestedAt != nil:
		return p.StopRequestedAt.Add(Grace(p) + StopMargin), true
	case p.Eviction != nil:
		return p.Eviction.Since.Add(Grace(p) + StopMargin), true
	default:
		return time.Time{}, false
	}
}

// OverdueMessage tells whoever looks at a pod whose stop is overdue what they can do.
func OverdueMessage(p api.Pod) string {
	name := p.NodeName
	if name == "" && p.NodeID != nil {
		name = *p.NodeID
	}
	return fmt.Sprintf("node %s has not told the end, %s after the grace of %s; it is asked again, and until it tells "+
		"the pod may still run there: a stop with force ends the pod without it", name, StopMargin, Grace(p))
}
