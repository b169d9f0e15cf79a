package bundle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Stacks of a bundle name the files and lines that somebody wrote, and no place on the
// node, in both formats and minified.
func TestStacksNameTheSource(t *testing.T) {
	t.Parallel()
	inner := "export interface Given { n: number }\n\nexport function check(given: Given): void {\n  if (given.n > 1) {\n    throw new Error('too many')\n  }\n}\n"
	for name, entry := range map[string]string{
		"CommonJS":  "import { check } from './lib/check'\n\nexport default async () => {\n  check({ n: 2 })\n}\n",
		"ES module": "import { check } from './lib/check'\nconst two = await Promise.resolve(2)\nexport default async () => {\n  check({ n: two })\n}\n",
	} {
		for _, minify := range []string{"false", "true"} {
			t.Run(name+" "+minify, func(t *testing.T) {
				t.Parallel()
				r, err := Bundle(write(t, map[string]string{
					ManifestName: `{"name":"hello","version":"1.0.0","minify":` + minify + `}`, "index.ts": entry, "lib/check.ts": inner,
				}))
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				ext := map[api.ModuleFormat]string{api.FormatCommonJS: ".cjs", api.FormatESM: ".mjs"}[r.Format]
				path := filepath.Join(dir, "bundle"+ext)
				if err := os.WriteFile(path, r.Code, 0o644); err != nil {
					t.Fatal(err)
				}
				script := `import(process.argv[1]).then((m) => (m.default?.default ?? m.default)()).catch((e) => console.log(e.stack))`
				out, err := exec.CommandContext(t.Context(), "node", "--enable-source-maps", "-e", script, path).CombinedOutput()
				if err != nil {
					t.Fatalf("node: %v\n%s", err, out)
				}
				stack := string(out)
				for _, want := range []string{"too many", "pack:///hello/lib/check.ts:5:", "pack:///hello/index.ts:4:"} {
					if !strings.Contains(stack, want) {
						t.Errorf("the stack does not name %s:\n%s", want, stack)
					}
				}
				if strings.Contains(stack, dir) {
					t.Errorf("the stack names the place of the bundle:\n%s", stack)
				}
			})
		}
	}
}
