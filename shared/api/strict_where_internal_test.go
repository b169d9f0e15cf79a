package api

import (
	"slices"
	"strings"
	"testing"
)

// Many faults below a key as long as the request make no text of the product of the two.
func TestThePathOfAFaultIsBoundedAsItGrows(t *testing.T) {
	t.Parallel()
	for _, path := range [][]string{
		{"metadata", strings.Repeat("k", 1<<20), "a"},
		slices.Repeat([]string{"k"}, 1<<20),
		make([]string, 1<<20),
		{strings.Repeat("k", maxFaultPath), "a"},
		{strings.Repeat("k", maxFaultPath-1), strings.Repeat("ä", 1<<10)},
	} {
		got := (&strictness{path: keysOf(path)}).where()
		if len(got) != maxFaultPath+1 || !strings.HasPrefix(strings.Join(path, "."), got) {
			t.Errorf("a path of %d keys is told with %d bytes: %q", len(path), len(got), got[:10])
		}
	}
	for _, path := range [][]string{nil, {"a"}, {"", "", "b"}, {"metadata", "a", strings.Repeat("k", maxFaultPath-20)}} {
		if got := (&strictness{path: keysOf(path)}).where(); got != strings.Join(path, ".") {
			t.Errorf("%q is told as %q", path, got)
		}
	}
	entries := slices.Repeat([]step{{index: 12345}}, 1<<20)
	if got := (&strictness{path: entries}).where(); len(got) != maxFaultPath+1 || !strings.HasPrefix(got, "[12345][12345]") {
		t.Errorf("entries of entries are told as %q", got)
	}
	if got := (&strictness{path: []step{{"items", -1}, {index: 17}, {"env", -1}, {"[3]", -1}}}).where(); got != "items[17].env.[3]" {
		t.Errorf("an entry is told as %q", got)
	}
}

func keysOf(path []string) []step {
	var steps []step
	for _, key := range path {
		steps = append(steps, step{key, -1})
	}
	return steps
}
