package pod

import (
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// Change is what a report does to a pod. The zero Change does nothing: the report
// is news about a run that is no longer the pod's newest.
type Change struct {
	Status          api.PodStatus // "" leaves the pod as it is
	Reason          string
	Message         string
	Restarts        int
	LastTermination *api.Termination
	StartedAt       *time.Time // set when the pod comes to run
	StoppedAt       *time.Time // set when the pod ends
}

// Applies reports whether the pod changes at all.
func (c Change) Applies() bool { return c.Status != "" }

// NextForReport says what a report of a node makes of a pod. lastAttempt is the
// highest attempt of the pod's incarnation that is known. It fails with a
// *fault.Error: FORBIDDEN when the pod is not that node's, STALE when the
// incarnation does not exist yet, VALIDATION_ERROR when a node may not say so.
func NextForReport(p api.Pod, nodeID string, lastAttempt int, r wire.RunReport) (Change, error) {
	if err := refuse(p, nodeID, r); err != nil {
		return Change{}, err
	}
	if r.Incarnation < p.Incarnation || r.Attempt < lastAttempt || p.Status.Terminal() {
		return Change{}, nil
	}
	c := Change{
		Reason: r.Reason, Message: r.Message,
		Restarts: max(p.Restarts, r.Attempt-1), LastTermination: p.LastTermination,
		StartedAt: p.StartedAt, StoppedAt: p.StoppedAt,
	}
	if r.Termination != nil {
		c.LastTermination = r.Termination
	}
	c.Status = statusFor(p, r)
	if r.Reason == "" && lasting(p.Reason) && c.Status == p.Status && c.Restarts == p.Restarts {
		// Told again after a lost connection: what the pod says is as true as before.
		c.Reason, c.Message = p.Reason, p.StatusMessage
	}
	if c.Status == api.PodRunning && p.StartedAt == nil {
		c.StartedAt = &r.At
	}
	if c.Status == api.PodPending {
		c.Reason, c.Message = p.Eviction.Reason, p.Eviction.Message
		c.Restarts, c.StartedAt = 0, nil
	}
	if c.Status.Terminal() {
		c.StoppedAt = &r.At
		if c.Reason == "" && r.Termination != nil {
			c.Reason, c.Message = r.Termination.Reason, r.Termination.Message
		}
	}
	return c, nil
}

// lasting reports whether a pod's reason outlives news that have none: why another version
// failed, and that its stop is overdue.
func lasting(reason string) bool {
	return reason == api.ReasonRollbackFailed || reason == api.ReasonStopOverdue
}

func refuse(p api.Pod, nodeID string, r wire.RunReport) error {
	switch {
	case p.ID != r.PodID:
		return fault.New(fault.NotFound, "the report is about pod %s", r.PodID)
	case r.Incarnation > p.Incarnation:
		return fault.New(fault.Stale, "pod %s has no incarnation %d", p.ID, r.Incarnation)
	case r.Incarnation == p.Incarnation && (p.NodeID == nil || *p.NodeID != nodeID):
		return fault.New(fault.Forbidden, "pod %s does not run on this node", p.ID)
	}
	switch r.Status {
	case api.RunStarting, api.RunRunning, api.RunStopping, api.RunExited:
		return nil
	default:
		return fault.New(fault.Validation, "a node may not report the status %q", r.Status)
	}
}

// StopReason says why a pod is stopped. What its row says may be older than the stop:
// a pod in a crash loop keeps that reason until its run has ended.
func StopReason(p api.Pod) string {
	if p.Eviction != nil && p.StopRequestedAt == nil {
		return p.Eviction.Reason
	}
	switch p.Reason {
	case api.ReasonEvicted, api.ReasonPreempted:
		return p.Reason
	default:
		return api.ReasonStopped
	}
}

// statusFor gives the status of a live pod after news of its newest run.
func statusFor(p api.Pod, r wire.RunReport) api.PodStatus {
	stopping := p.Status == api.PodStopping || p.StopRequestedAt != nil || p.Eviction != nil
	if r.Status == api.RunExited && r.Final {
		return ended(p, stopping, r)
	}
	if stopping {
		return api.PodStopping
	}
	switch {
	case r.Status == api.RunRunning && r.Ready:
		return api.PodRunning
	case r.Status == api.RunStopping:
		return p.Status // its end will tell what this was: a deadline, a restart
	default:
		return api.PodStarting // fetching, starting, or waiting to restart
	}
}

// ended gives the status of a pod whose last run of this incarnation has ended.
func ended(p api.Pod, stopping bool, r wire.RunReport) api.PodStatus {
	reason := r.Reason
	if r.Termination != nil {
		reason = r.Termination.Reason
	}
	switch {
	case evicted(p):
		return afterEviction(p, reason)
	case stopping || reason == api.ReasonStopped:
		return api.PodStopped
	case reason == api.ReasonCompleted:
		return api.PodSucceeded
	case reason == api.ReasonEvicted || reason == api.ReasonPreempted:
		return api.PodEvicted
	default:
		return api.PodFailed
	}
}

// evicted reports whether a pod is leaving its node by order of the cluster; the wish
// of a user to stop it counts for more.
func evicted(p api.Pod) bool { return p.Eviction != nil && p.StopRequestedAt == nil }

// afterEviction gives the status of an evicted pod whose run has ended for reason. A
// pod is the wish that a pack runs, so it runs on elsewhere, as after NodeLost, unless
// it was done before the order reached it, its time is over, or it may run once only.
func afterEviction(p api.Pod, reason string) api.PodStatus {
	switch {
	case reason == api.ReasonCompleted:
		return api.PodSucceeded
	case reason == api.ReasonDeadlineExceeded:
		return api.PodFailed
	case p.RestartPolicy != api.RestartNever:
		return api.PodPending
	case reason == api.ReasonEvicted || reason == api.ReasonPreempted || reason == api.ReasonStopped:
		return api.PodEvicted
	default:
		return api.PodFailed // by itself, before the order reached it
	}
}

// AfterNodeLost gives the status and reason of a pod whose node has been given
// up: one that was to stop has stopped, one that may run again is pending in its
// next incarnation, any other has failed, or is evicted when it was being evicted.
func AfterNodeLost(p api.Pod) (api.PodStatus, string) {
	switch {
	case evicted(p) && p.RestartPolicy == api.RestartNever:
		return api.PodEvicted, p.Eviction.Reason
	case evicted(p):
		return api.PodPending, p.Eviction.Reason
	case p.Status == api.PodStopping || p.StopRequestedAt != nil:
		return api.PodStopped, api.ReasonNodeLost
	case p.RestartPolicy == api.RestartNever:
		return api.PodFailed, api.ReasonNodeLost
	default:
		return api.PodPending, api.ReasonNodeLost
	}
}
