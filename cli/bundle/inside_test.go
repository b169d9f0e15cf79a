package bundle_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stark-orchestrator/stark/cli/bundle"
)

func TestInsideOfABundle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"stark.pack.json":                `{"name":"in","version":"1.0.0"}`,
		"index.js":                       `import fs from "node:fs"; import { x } from "dep"; import y from "@s/d"; import z from "./lib/z.js"; export default () => fs.statSync(x + y + z);`,
		"lib/z.js":                       `export default "z"`,
		"node_modules/dep/package.json":  `{"name":"dep","main":"a.js"}`,
		"node_modules/dep/a.js":          `exports.x = require("./b.js")`,
		"node_modules/dep/b.js":          `module.exports = 1`,
		"node_modules/@s/d/package.json": `{"name":"@s/d","main":"i.js"}`,
		"node_modules/@s/d/i.js":         `module.exports = require("os").EOL`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := bundle.Bundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := bundle.Inside(r.Code)
	if !slices.Equal(got.Imports, []string{"node:fs", "os"}) {
		t.Errorf("imports %q", got.Imports)
	}
	if !slices.Equal(got.Files, []string{"index.js", "lib/z.js", "npm:@s/d", "npm:dep"}) {
		t.Errorf("files %q", got.Files)
	}
}

// FuzzInside reads bundles that nobody has made with our tools.
func FuzzInside(f *testing.F) {
	for _, seed := range []string{
		"", `require("a")`, `import x from 'y'`, "//# sourceMappingURL=data:application/json;base64,", "//# sourceMappingURL=data:application/json;base64,e30=",
		"//# sourceMappingURL=data:application/json;base64,eyJzb3VyY2VzIjpbIm5vZGVfbW9kdWxlcy8iLCJub2RlX21vZHVsZXMvQGEiLCIuLi8uLi8iXX0=",
		"//# sourceMappingURL=data:application/json;base64,bnVsbA==", "require(\"\xff\")",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		got := bundle.Inside(code)
		if !slices.IsSorted(got.Imports) || !slices.IsSorted(got.Files) || slices.Contains(got.Imports, "") {
			t.Errorf("got %+v", got)
		}
	})
}
