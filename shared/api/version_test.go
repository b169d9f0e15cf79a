package api_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestVersionOrder(t *testing.T) {
	t.Parallel()
	ordered := []string{
		"not a version", "1", "0.0.0", "0.9.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
		"1.0.0-beta.10", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2.0.0", "99999999999999999999.0.0",
	}
	ordered[0], ordered[1] = ordered[1], ordered[0]
	for i, a := range ordered {
		for j, b := range ordered {
			got := api.CompareVersions(a, b)
			if (i < j) != (got < 0) || (i == j) != (got == 0) {
				t.Errorf("CompareVersions(%q, %q) = %d", a, b, got)
			}
		}
	}
	if api.CompareVersions("1.0.0+a", "1.0.0+b") != 0 {
		t.Error("build metadata counts, want it ignored")
	}
}

func TestLatestVersion(t *testing.T) {
	t.Parallel()
	for want, versions := range map[string][]string{
		"":            {"x"},
		"1.10.0":      {"1.2.0", "1.10.0", "2.0.0-rc.1", "1.9.9"},
		"2.0.0-rc.10": {"2.0.0-rc.2", "junk", "2.0.0-rc.10"},
		"1.0.0":       {"2.0.0-rc.1", "1.0.0"},
	} {
		if got := api.LatestVersion(versions); got != want {
			t.Errorf("LatestVersion(%v) = %q, want %q", versions, got, want)
		}
		slices.Reverse(versions)
		if got := api.LatestVersion(versions); got != want {
			t.Errorf("LatestVersion(%v) = %q, want %q", versions, got, want)
		}
	}
}

// FuzzVersion holds the parser and the order to a widely used library.
func FuzzVersion(f *testing.F) {
	for _, s := range []string{
		"1.2.3", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3+", "1.2.3-01", "1.2.3-0a", "1.2.3+01", "1.2", "1.2.3.4", "1.2.3-a..b", "1.2.3-a+b-c",
		"1.0.0-beta.2", "1.0.0-beta.10", " 1.2.3", "1.2.3 ", "1.2.3-é", "-1.2.3", "1.2.3-a_b",
	} {
		f.Add(s, "1.0.0-beta.10")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		const safe = 18 // the library reads numbers into 64 bits
		x, errX := semver.StrictNewVersion(a)
		y, errY := semver.StrictNewVersion(b)
		if longNumber(a, safe) || longNumber(b, safe) || len(a) > 128 || len(b) > 128 {
			return
		}
		if got := api.ValidVersion(a); got != (errX == nil) {
			t.Fatalf("ValidVersion(%q) = %t, the library says %v", a, got, errX)
		}
		if errX != nil || errY != nil {
			return
		}
		if got, want := api.CompareVersions(a, b), x.Compare(y); got != want {
			t.Errorf("CompareVersions(%q, %q) = %d, want %d", a, b, got, want)
		}
		if got, want := api.Prerelease(a), x.Prerelease() != ""; got != want {
			t.Errorf("Prerelease(%q) = %t, want %t", a, got, want)
		}
	})
}

func longNumber(s string, limit int) bool {
	return slices.ContainsFunc(strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }), func(d string) bool { return len(d) > limit })
}
