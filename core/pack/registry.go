// Package pack knows how the versions of a pack relate. It orders them and says
// which one "latest" means; it does not know where bundles are.
package pack

import (
	"slices"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Bundle is an object in Storage that holds the code of a pack.
type Bundle struct {
	Path   string // its key
	SHA256 string // in hex
	Size   int64  // bytes
	// Object tells this object from another one that takes its key later: its id,
	// or its id and version with a colon between.
	Object string
}

// Latest gives the version that "latest" means: the highest release by semantic
// versioning. Pre-releases count only where there is no release at all; what is
// no version never counts. It gives "" when nothing is left.
func Latest(versions []string) string { return api.LatestVersion(versions) }

// Compare orders two versions by semantic versioning; build metadata does not count.
func Compare(a, b string) int { return api.CompareVersions(a, b) }

// SortVersions orders versions from the highest to the lowest, in place.
func SortVersions(versions []string) {
	slices.SortStableFunc(versions, func(a, b string) int { return Compare(b, a) })
}

// Arrange orders the versions of one pack from the highest to the lowest and
// marks the latest, in place.
func Arrange(versions []api.PackVersion) {
	names := make([]string, len(versions))
	for i, v := range versions {
		names[i] = v.Version
	}
	latest := Latest(names)
	for i := range versions {
		versions[i].Latest = versions[i].Version == latest
	}
	slices.SortStableFunc(versions, func(a, b api.PackVersion) int { return Compare(b.Version, a.Version) })
}

// Runtimes lists the kinds of node that a tag runs on.
func Runtimes(tag api.RuntimeTag) []api.RuntimeType {
	var fits []api.RuntimeType
	for _, t := range []api.RuntimeType{api.RuntimeNode, api.RuntimeBrowser} {
		if tag.Fits(t) {
			fits = append(fits, t)
		}
	}
	return fits
}
