package api

import (
	"cmp"
	"strings"
)

const maxVersion = 128

// version is a semantic version taken apart. Numbers stay text: they may be
// longer than any integer, and text without leading zeros compares by length.
type version struct {
	core       [3]string
	prerelease []string
}

// ValidVersion reports whether s is a version by Semantic Versioning 2.0.0,
// without a leading "v".
func ValidVersion(s string) bool {
	_, ok := parseVersion(s)
	return ok
}

// Prerelease reports whether s is a valid version with a pre-release part.
func Prerelease(s string) bool {
	v, ok := parseVersion(s)
	return ok && len(v.prerelease) > 0
}

// CompareVersions orders two versions by precedence; build metadata does not
// count. What is no version sorts first, and among its like by text.
func CompareVersions(a, b string) int {
	x, okX := parseVersion(a)
	y, okY := parseVersion(b)
	switch {
	case !okX && !okY:
		return cmp.Compare(a, b)
	case !okX:
		return -1
	case !okY:
		return 1
	}
	for i := range x.core {
		if c := compareNumbers(x.core[i], y.core[i]); c != 0 {
			return c
		}
	}
	return comparePrerelease(x.prerelease, y.prerelease)
}

// LatestVersion gives the highest release, or the highest pre-release where
// there is no release, or "" for none.
func LatestVersion(versions []string) string {
	best := ""
	for _, v := range versions {
		if !ValidVersion(v) {
			continue
		}
		if best == "" {
			best = v
			continue
		}
		if pv, pb := Prerelease(v), Prerelease(best); pv != pb {
			if pb {
				best = v
			}
			continue
		}
		if CompareVersions(v, best) > 0 {
			best = v
		}
	}
	return best
}

func parseVersion(s string) (version, bool) {
	var v version
	if len(s) > maxVersion {
		return v, false
	}
	s, build, hasBuild := strings.Cut(s, "+")
	if hasBuild && !identifiers(strings.Split(build, "."), true) {
		return v, false
	}
	s, pre, hasPre := strings.Cut(s, "-")
	if hasPre {
		v.prerelease = strings.Split(pre, ".")
		if !identifiers(v.prerelease, false) {
			return v, false
		}
	}
	parts := strings.Split(s, ".")
	if len(parts) != len(v.core) {
		return v, false
	}
	for i, p := range parts {
		if !number(p) {
			return v, false
		}
		v.core[i] = p
	}
	return v, true
}

// number reports whether s is a numeric identifier: digits, no leading zero.
func number(s string) bool {
	return s != "" && allBytes(s, isDigit) && (s == "0" || s[0] != '0')
}

func identifiers(ids []string, leadingZeros bool) bool {
	for _, id := range ids {
		if id == "" || !allBytes(id, func(b byte) bool { return isAlnum(b) || b == '-' }) {
			return false
		}
		if !leadingZeros && allBytes(id, isDigit) && !number(id) {
			return false
		}
	}
	return true
}

func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func comparePrerelease(a, b []string) int {
	if len(a) == 0 || len(b) == 0 { // a release stands above its pre-releases
		return cmp.Compare(len(b), len(a))
	}
	for i := range min(len(a), len(b)) {
		numA, numB := number(a[i]), number(b[i])
		var c int
		switch {
		case numA && numB:
			c = compareNumbers(a[i], b[i])
		case numA:
			c = -1
		case numB:
			c = 1
		default:
			c = cmp.Compare(a[i], b[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}
