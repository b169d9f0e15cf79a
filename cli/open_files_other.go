//go:build !unix

package cli

import "math"

// mostOpenFiles is how many files this process may have open at a time: as many as it
// likes.
func mostOpenFiles() int { return math.MaxInt32 }
