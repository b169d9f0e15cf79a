package dispatch

import (
	"maps"
	"slices"
)

// MessageTypes lists what a peer may say.
func MessageTypes() []string { return slices.Sorted(maps.Keys(handlers)) }
