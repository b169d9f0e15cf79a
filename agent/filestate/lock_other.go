//go:build !unix

package filestate

import "os"

// lockFile does nothing where the platform has no flock: there, nobody guards the
// folder against a second agent.
func lockFile(*os.File) error { return nil }
