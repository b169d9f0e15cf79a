package dispatch

import (
	"context"
	"maps"
	"slices"
)

// MessageTypes lists what a peer may say.
func MessageTypes() []string { return slices.Sorted(maps.Keys(handlers)) }

// Checkpoints gives what stores checkpoints in groups.
func Checkpoints(store func(context.Context, []NodeCheckpoint) error) func(context.Context, []NodeCheckpoint) error {
	return newCheckpoints(store).add
}
