package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestExcerptOfTheLineThatATraceNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"index.js": "first\n\tsecond(x);\nthird\n", "lib/index.js": "inner\n", "min.js": strings.Repeat("x", 500) + "\n", "bidi.js": "a \u202e b\n",
	})
	var inputs []string
	for _, f := range []string{"index.js", "lib/index.js", "min.js", "bidi.js"} {
		inputs = append(inputs, filepath.Join(dir, f))
	}
	for trace, want := range map[string]string{
		"at f (/state/bundles/index.js:2:9)":                                 "index.js:2:9\n  1 | first\n  2 |  second(x);\n    |         ^",
		"at f (/state/bundles/lib/index.js:1:1)":                             "index.js:1:1\n  1 | inner\n    | ^",
		"at file:///state/bundles/index.js:1:1":                              "index.js:1:1\n  1 | first\n    | ^",
		"at g (/state/host-1.cjs:5:1)\n at f (/state/bundles/index.js:1:99)": "index.js:1:99\n  1 | first\n    |      ^",
		"at f (/state/bundles/bidi.js:1:1)":                                  "bidi.js:1:1\n  1 | a  b\n    | ^",
		"at f (/state/bundles/min.js:1:400)":                                 "", // nobody reads such a line
		"at f (/state/bundles/index.js:99:1)":                                "",
		"at f (/state/bundles/index.js:0:0)":                                 "",
		"at f (/x/index.js:99999999999999999:1)":                             "",
		"nothing at all":                                                     "",
	} {
		if got := excerpt(inputs, trace); got != want {
			t.Errorf("%q gives\n%s\nwant\n%s", trace, got, want)
		}
	}
}
