package cli

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestPackDiff(t *testing.T) {
	t.Parallel()
	from := api.Pack{
		ID: "1", Name: "p", Version: "1.0.0", RuntimeTag: api.TagUniversal, Format: api.FormatCommonJS, BundleSHA256: "aaaaaaaaaaaaaaaa", BundleSize: 1000,
		Metadata: map[string]any{"env": map[string]any{"A": "1", "B": "2"}, "old": true},
	}
	to := from
	to.ID, to.Version, to.RuntimeTag, to.BundleSHA256, to.BundleSize = "2", "1.1.0", api.TagNode, "bbbbbbbbbbbbbbbb", 900
	to.Metadata = map[string]any{"env": map[string]any{"A": "1", "B": "3"}, "new": []any{1.0}}
	d := packDiff{From: from, To: to, Changes: packChanges(from, to), Imports: namesDiff([]string{"a"}, []string{"a", "node:fs"}), Files: namesDiff([]string{"npm:x"}, nil)}
	var out strings.Builder
	describeDiff(&out, d)
	want := `p 1.0.0 -> p 1.1.0
  ~ runtimeTag: "universal" -> "node"
  ~ sha256: aaaaaaaaaaaa -> bbbbbbbbbbbb
  ~ size: ` + size(1000) + ` -> ` + size(900) + ` (-100 bytes)
  ~ metadata.env.B: "2" -> "3"
  + metadata.new: [1]
  - metadata.old: true
  + import node:fs
  - file npm:x
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if changes := packChanges(from, from); len(changes) != 0 {
		t.Errorf("a version differs from itself: %v", changes)
	}
}
