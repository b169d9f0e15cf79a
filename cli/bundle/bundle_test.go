package bundle

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// write makes a folder of files and gives its path.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// eval runs a CommonJS bundle's default export in Node.js and gives its output.
func eval(t *testing.T, code []byte, ext string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle"+ext)
	if err := os.WriteFile(path, code, 0o644); err != nil {
		t.Fatal(err)
	}
	script := `import(process.argv[1]).then(async (m) => { const f = m.default?.default ?? m.default; console.log(await f()); })`
	out, err := exec.CommandContext(t.Context(), "node", "-e", script, path).CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestBundleInfersTheRuntimeTag(t *testing.T) {
	t.Parallel()
	browserField := `{"name":"dep","version":"1.0.0","main":"node.js","browser":"browser.js"}`
	cases := map[string]struct {
		files    map[string]string
		tag      api.RuntimeTag
		ruledOut []string
		format   api.ModuleFormat
		output   string
	}{
		"no imports: universal": {
			files: map[string]string{"index.ts": `export default async () => { const n: number = 41; return n + 1 }`},
			tag:   api.TagUniversal, format: api.FormatCommonJS, output: "42",
		},
		"node: import": {
			files: map[string]string{"src/index.ts": "// first\nimport { basename } from \"node:path\";\nexport default () => basename('/a/b')"},
			tag:   api.TagNode, format: api.FormatCommonJS, output: "b",
			ruledOut: []string{"browser ruled out by node:path, src/index.ts:2"},
		},
		"bare builtin, required": {
			files: map[string]string{"index.js": `const os = require('os'); module.exports = () => typeof os.cpus`},
			tag:   api.TagNode, format: api.FormatCommonJS, output: "function",
			ruledOut: []string{"browser ruled out by os, index.js:1"},
		},
		"a package of a builtin's name stands in": {
			files: map[string]string{
				"index.js":                            `import { twice } from 'buffer'; export default () => twice(4)`,
				"node_modules/buffer/package.json":    `{"name":"buffer","version":"1.0.0","main":"main.js"}`,
				"node_modules/buffer/main.js":         `exports.twice = (n) => 2 * n`,
				"node_modules/unrelated/package.json": `{}`,
			},
			tag: api.TagUniversal, format: api.FormatCommonJS, output: "8",
		},
		"a dependency's browser build needs no Node.js": {
			files: map[string]string{
				"index.js":                      `import { who } from 'dep'; export default () => who()`,
				"node_modules/dep/package.json": browserField,
				"node_modules/dep/node.js":      `const c = require('node:crypto'); exports.who = () => 'node' + c`,
				"node_modules/dep/browser.js":   `exports.who = () => 'anywhere'`,
			},
			tag: api.TagUniversal, format: api.FormatCommonJS, output: "anywhere",
		},
		"top-level await makes an ES module": {
			files: map[string]string{"index.mjs": `const x = await Promise.resolve(7); export default () => x`},
			tag:   api.TagUniversal, format: api.FormatESM, output: "7",
		},
		"ES module with a CommonJS dependency that needs Node.js": {
			files: map[string]string{
				"index.mjs":                     `import { sep } from 'dep'; const x = await Promise.resolve(sep); export default () => x`,
				"node_modules/dep/package.json": `{"name":"dep","version":"1.0.0","main":"a.js"}`,
				"node_modules/dep/a.js":         `exports.sep = require('path').posix.sep`,
			},
			tag: api.TagNode, format: api.FormatESM, output: "/",
			ruledOut: []string{"browser ruled out by path, node_modules/dep/a.js:1"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Bundle(write(t, c.files))
			if err != nil {
				t.Fatal(err)
			}
			var ruledOut []string
			for _, o := range r.RuledOut {
				ruledOut = append(ruledOut, o.String())
			}
			if r.RuntimeTag != c.tag || r.Format != c.format || !slices.Equal(ruledOut, c.ruledOut) {
				t.Errorf("tag %s, format %s, ruled out %q; want %s, %s, %q", r.RuntimeTag, r.Format, ruledOut, c.tag, c.format, c.ruledOut)
			}
			ext := map[api.ModuleFormat]string{api.FormatCommonJS: ".cjs", api.FormatESM: ".mjs"}[r.Format]
			if got := eval(t, r.Code, ext); got != c.output {
				t.Errorf("the bundle says %q, want %q", got, c.output)
			}
			if !strings.Contains(string(r.Code), "sourceMappingURL=data:") {
				t.Error("no source map")
			}
		})
	}
}

func TestBundleRefusesWithTheReason(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		files map[string]string
		want  []string
	}{
		"syntax error": {
			map[string]string{"index.ts": "export default () => {\n  const = 1\n}"},
			[]string{"index.ts:2:9:", "const = 1"},
		},
		"dependency not installed": {
			map[string]string{"index.ts": `import { z } from "zod"; export default () => z`, "package.json": `{"dependencies":{"zod":"^3"}}`},
			[]string{`Could not resolve "zod"`, "run `npm install` in "},
		},
		"manifest promises the browser": {
			map[string]string{"index.js": `import fs from "fs"; export default () => fs`, "stark.pack.json": `{"runtimeTag":"universal"}`},
			[]string{"browser ruled out by fs, index.js:1", `runtimeTag "universal"`},
		},
		"no entry":          {map[string]string{"readme.md": ""}, []string{"has no entry", "stark.pack.json"}},
		"unknown field":     {map[string]string{"stark.pack.json": `{"naem":"x"}`}, []string{"stark.pack.json", `"naem"`}},
		"malformed package": {map[string]string{"package.json": `{`, "index.js": ""}, []string{"package.json"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Bundle(write(t, c.files))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not tell %q:\n%s", want, err)
				}
			}
		})
	}
	if _, err := Bundle(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent folder: %v", err)
	}
}

func TestLoadFillsDefaults(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"package.json": `{"name":"@acme/my.tool","version":"2.3.4","description":"does things"}`,
		"main.js":      "", "lib/9lives.js": "",
		"stark.pack.json": `{"runtimeTag":"isomorphic","env":{"A":"1"}}`,
	})
	m, _, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "my-tool" || m.Version != "2.3.4" || m.Description != "does things" || m.Entry != "main.js" || m.RuntimeTag != api.TagUniversal {
		t.Errorf("manifest = %+v", m)
	}
	m, from, err := Load(filepath.Join(dir, "lib", "9lives.js"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "lives" || m.Version != "0.1.0" || m.Entry != "9lives.js" || from != filepath.Join(dir, "lib") {
		t.Errorf("manifest of a file = %+v in %s", m, from)
	}
}

func TestInputsAreWhatAWatcherLooksAt(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"index.js": `import "./a.js"; import "dep"; export default () => 1`, "a.js": "",
		"node_modules/dep/package.json": `{"main":"i.js"}`, "node_modules/dep/i.js": "globalThis.x = 1",
	})
	r, err := Bundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, in := range r.Inputs {
		rel, err := filepath.Rel(dir, in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rel)
	}
	if want := []string{"a.js", "index.js", "package.json", "stark.pack.json"}; !slices.Equal(got, want) {
		t.Errorf("inputs = %q, want %q", got, want)
	}
}
