package namespace

import "github.com/stark-orchestrator/stark/shared/api"

// Unavailable reports whether a pod counts against the disruption budget of its
// namespace: one that has a node and does not run, that was told to leave, or that has
// lost its node and not found another. Who was asked to stop is missed by nobody, and who
// never had a node was not taken away. It is the one rule for preemption and drains; the
// same stands in SQL in server/postgres.
func Unavailable(p api.Pod) bool {
	switch {
	case p.Status.Terminal() || p.StopRequestedAt != nil:
		return false
	case p.Status == api.PodPending:
		return p.Incarnation > 1
	default:
		return p.Status != api.PodRunning || p.Eviction != nil
	}
}
