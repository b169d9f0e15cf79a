package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	esbuild "github.com/evanw/esbuild/pkg/api"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Result is one bundled pack.
type Result struct {
	Manifest   Manifest
	Code       []byte // with an inline source map
	SHA256     string
	Format     api.ModuleFormat
	RuntimeTag api.RuntimeTag
	RuledOut   []RuledOut // why RuntimeTag is not universal; empty where the manifest said so
	Warnings   []string
	Inputs     []string // absolute paths of the source files outside node_modules, and of the manifest
	Took       time.Duration
}

// RuledOut is an import that a runtime cannot serve.
type RuledOut struct {
	Runtime api.RuntimeType `json:"runtime"`
	Import  string          `json:"import"`
	File    string          `json:"file"` // relative to the pack's folder
	Line    int             `json:"line"` // 0 where it could not be found
}

// String tells it as people read it: "browser ruled out by node:fs, src/a.ts:3".
func (r RuledOut) String() string {
	at := r.File
	if r.Line > 0 {
		at = fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	return fmt.Sprintf("%s ruled out by %s, %s", r.Runtime, r.Import, at)
}

// Error is a bundle that could not be made. Each message names file, line and
// column where there is one.
type Error struct {
	Messages []string
	Hint     string
}

// Error lists all messages, then the hint.
func (e *Error) Error() string {
	s := strings.Join(e.Messages, "\n")
	if e.Hint != "" {
		s += "\n" + e.Hint
	}
	return s
}

// Bundle bundles a folder or a single file.
//
// It first builds for the browser: what then needs no module of Node.js runs on
// both runtimes with this one bundle. Else the pack is built for Node.js.
func Bundle(source string) (Result, error) {
	start := time.Now()
	m, dir, err := Load(source)
	if err != nil {
		return Result{}, err
	}
	b := builder{manifest: m, dir: dir}
	var out output
	if m.RuntimeTag != api.TagNode {
		out, err = b.build(esbuild.PlatformBrowser)
		if err != nil {
			return Result{}, err
		}
		if len(out.ruledOut) > 0 && m.RuntimeTag != "" {
			return Result{}, b.contradiction(out.ruledOut)
		}
	}
	tag, ruledOut := m.RuntimeTag, out.ruledOut
	if tag == "" {
		tag = api.TagUniversal
	}
	if m.RuntimeTag == api.TagNode || len(ruledOut) > 0 {
		tag = api.TagNode
		if out, err = b.build(esbuild.PlatformNode); err != nil {
			return Result{}, err
		}
	}
	if len(out.code) > api.MaxBundleBytes {
		return Result{}, &Error{Messages: []string{fmt.Sprintf("the bundle has %d bytes, allowed are %d", len(out.code), api.MaxBundleBytes)}}
	}
	sum := sha256.Sum256(out.code)
	return Result{
		Manifest: m, Code: out.code, SHA256: hex.EncodeToString(sum[:]), Format: out.format, RuntimeTag: tag,
		RuledOut: ruledOut, Warnings: out.warnings, Inputs: b.inputs(out.metafile), Took: time.Since(start),
	}, nil
}

type builder struct {
	manifest Manifest
	dir      string
}

type output struct {
	code     []byte
	metafile string
	format   api.ModuleFormat
	ruledOut []RuledOut
	warnings []string
}

// build makes CommonJS, or an ES module where the code awaits at its top level.
func (b builder) build(platform esbuild.Platform) (output, error) {
	out, result := b.run(platform, esbuild.FormatCommonJS)
	if slices.ContainsFunc(result.Errors, isTopLevelAwait) {
		out, result = b.run(platform, esbuild.FormatESModule)
	}
	if len(result.Errors) > 0 {
		return output{}, b.failure(result.Errors)
	}
	out.code = result.OutputFiles[0].Contents
	out.metafile = result.Metafile
	out.warnings = texts(result.Warnings)
	return out, nil
}

func isTopLevelAwait(m esbuild.Message) bool {
	return strings.Contains(m.Text, "Top-level await")
}

// requireBanner gives ES modules the `require` that bundled CommonJS
// dependencies call for the modules of Node.js.
const requireBanner = `import { createRequire as __starkRequire } from "node:module"; const require = __starkRequire(import.meta.url);`

func (b builder) run(platform esbuild.Platform, format esbuild.Format) (output, esbuild.BuildResult) {
	out := output{format: api.FormatCommonJS}
	seen := &imports{dir: b.dir}
	o := esbuild.BuildOptions{
		AbsWorkingDir: b.dir,
		EntryPoints:   []string{entryPoint(b.manifest.Entry)},
		Outfile:       b.manifest.Name + ".js",
		Bundle:        true, Write: false, Metafile: true,
		Platform: platform, Format: format, Target: esbuild.ES2022,
		Charset:   esbuild.CharsetUTF8,
		Sourcemap: esbuild.SourceMapInline,
		// Without a root a runtime looks for the sources beside the bundle, and its
		// stacks name files in the cache of a node, where there are none.
		SourceRoot:        "pack:///" + b.manifest.Name + "/",
		SourcesContent:    esbuild.SourcesContentExclude,
		MinifySyntax:      b.manifest.Minify,
		MinifyWhitespace:  b.manifest.Minify,
		MinifyIdentifiers: b.manifest.Minify,
		KeepNames:         b.manifest.Minify,
		LegalComments:     esbuild.LegalCommentsInline,
		LogLevel:          esbuild.LogLevelSilent,
		Define:            map[string]string{"process.env.NODE_ENV": `"production"`},
	}
	if platform == esbuild.PlatformBrowser {
		o.MainFields = []string{"browser", "module", "main"}
		o.Plugins = []esbuild.Plugin{seen.plugin()}
	}
	if format == esbuild.FormatESModule {
		out.format = api.FormatESM
		if platform == esbuild.PlatformNode {
			o.Banner = map[string]string{"js": requireBanner}
		}
	}
	result := esbuild.Build(o)
	out.ruledOut = seen.sorted()
	return out, result
}

// entryPoint makes esbuild look for a file and not for a package.
func entryPoint(entry string) string {
	if filepath.IsAbs(entry) || strings.HasPrefix(entry, ".") {
		return entry
	}
	return "./" + filepath.ToSlash(entry)
}

func texts(messages []esbuild.Message) []string {
	var out []string
	for _, m := range messages {
		if m.Location == nil {
			out = append(out, m.Text)
			continue
		}
		text := fmt.Sprintf("%s:%d:%d: %s", m.Location.File, m.Location.Line, m.Location.Column+1, m.Text)
		if m.Location.LineText != "" {
			text += "\n    " + excerpt(m.Location.LineText, m.Location.Column)
		}
		out = append(out, text)
	}
	return out
}

// maxExcerpt bounds the line of source that is shown, in characters: generated code has
// lines without end.
const maxExcerpt = 160

// excerpt is a line of source, and below it a mark at the column, in bytes from 0.
func excerpt(line string, column int) string {
	text := strings.TrimSpace(line)
	if utf8.RuneCountInString(text) > maxExcerpt {
		return string([]rune(text)[:maxExcerpt]) + "..."
	}
	column = min(max(column, 0), len(line))
	before := strings.TrimLeft(line[:column], " \t")
	return strings.ReplaceAll(text, "\t", " ") + "\n    " + strings.Repeat(" ", utf8.RuneCountInString(before)) + "^"
}

// failure adds what to do when a dependency is named but not installed.
func (b builder) failure(errors []esbuild.Message) error {
	e := &Error{Messages: texts(errors)}
	var pkg packageJSON
	if err := readJSON(filepath.Join(b.dir, "package.json"), &pkg, false); err != nil || len(pkg.Dependencies) == 0 {
		return e
	}
	if _, err := os.Stat(filepath.Join(b.dir, "node_modules")); os.IsNotExist(err) {
		e.Hint = fmt.Sprintf("the dependencies of package.json are not installed: run `npm install` in %s", b.dir)
	}
	return e
}

// contradiction is a manifest that promises a runtime which an import rules out.
func (b builder) contradiction(ruledOut []RuledOut) error {
	return contradiction(ruledOut, fmt.Sprintf("%s says runtimeTag %q", ManifestName, b.manifest.RuntimeTag),
		`remove the import, or set runtimeTag to "node"`)
}

// inputs lists what a watcher has to look at.
func (b builder) inputs(metafile string) []string {
	var meta struct {
		Inputs map[string]json.RawMessage `json:"inputs"`
	}
	if err := json.Unmarshal([]byte(metafile), &meta); err != nil {
		meta.Inputs = nil
	}
	inputs := []string{filepath.Join(b.dir, ManifestName), filepath.Join(b.dir, "package.json")}
	for in := range meta.Inputs {
		if strings.Contains(in, "node_modules/") || strings.Contains(in, ":") {
			continue
		}
		inputs = append(inputs, filepath.Join(b.dir, filepath.FromSlash(in)))
	}
	slices.Sort(inputs)
	return slices.Compact(inputs)
}
