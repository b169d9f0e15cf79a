// Package pod holds the rules of a pod's life: which moves its status and the
// status of its runs may make, and what a node's report does to it. The same
// tables stand as triggers in supabase/migrations. It changes nothing itself.
package pod

import (
	"slices"

	"github.com/stark-orchestrator/stark/shared/api"
)

// moves lists where a pod may go from each status. Terminal statuses have no way
// out. A pod may skip "starting": its node may say at once that it runs.
var moves = map[api.PodStatus][]api.PodStatus{
	api.PodPending: {api.PodScheduled, api.PodStopped, api.PodFailed, api.PodEvicted},
	api.PodScheduled: {
		api.PodStarting, api.PodRunning, api.PodStopping, api.PodUnknown, api.PodPending,
		api.PodSucceeded, api.PodStopped, api.PodFailed, api.PodEvicted,
	},
	api.PodStarting: {
		api.PodRunning, api.PodStopping, api.PodUnknown, api.PodPending,
		api.PodSucceeded, api.PodStopped, api.PodFailed, api.PodEvicted,
	},
	api.PodRunning: {
		api.PodStarting, api.PodStopping, api.PodUnknown, api.PodPending,
		api.PodSucceeded, api.PodStopped, api.PodFailed, api.PodEvicted,
	},
	// Back to pending goes only what was evicted.
	api.PodStopping: {api.PodUnknown, api.PodPending, api.PodSucceeded, api.PodStopped, api.PodFailed, api.PodEvicted},
	api.PodUnknown: {
		api.PodScheduled, api.PodStarting, api.PodRunning, api.PodStopping, api.PodPending,
		api.PodSucceeded, api.PodStopped, api.PodFailed, api.PodEvicted,
	},
}

// CanMove reports whether a pod may go from one status to another. Staying is no
// move.
func CanMove(from, to api.PodStatus) bool { return slices.Contains(moves[from], to) }

// runMoves lists where a run may go: forward only.
var runMoves = map[api.RunStatus][]api.RunStatus{
	api.RunAssigned: {api.RunStarting, api.RunRunning, api.RunStopping, api.RunExited, api.RunLost},
	api.RunStarting: {api.RunRunning, api.RunStopping, api.RunExited, api.RunLost},
	api.RunRunning:  {api.RunStopping, api.RunExited, api.RunLost},
	api.RunStopping: {api.RunExited, api.RunLost},
}

// RunCanMove reports whether a run may go from one status to another.
func RunCanMove(from, to api.RunStatus) bool { return slices.Contains(runMoves[from], to) }

// RunEnded reports whether a run in this status will not change again.
func RunEnded(s api.RunStatus) bool { return s == api.RunExited || s == api.RunLost }

// HoldsNode reports whether a pod in this status takes room on its node: its slot
// is free only when the node has said so or is given up.
func HoldsNode(s api.PodStatus) bool { return s != api.PodPending && !s.Terminal() }

// Wanted reports whether the node of a pod should run it now.
func Wanted(p api.Pod) bool {
	switch p.Status {
	case api.PodScheduled, api.PodStarting, api.PodRunning, api.PodUnknown:
		return p.NodeID != nil && p.StopRequestedAt == nil && p.Eviction == nil
	default:
		return false
	}
}
