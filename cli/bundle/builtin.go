package bundle

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	esbuild "github.com/evanw/esbuild/pkg/api"

	"github.com/stark-orchestrator/stark/shared/api"
)

// builtins are the modules of Node.js 20 that may be imported without "node:".
var builtins = strings.Fields(`assert async_hooks buffer child_process cluster console constants crypto
	dgram diagnostics_channel dns domain events fs http http2 https inspector module net os path perf_hooks
	process punycode querystring readline repl stream string_decoder sys timers tls trace_events tty url util
	v8 vm wasi worker_threads zlib`)

// imports collects the imports of Node.js modules that a browser build meets.
type imports struct {
	dir   string
	mu    sync.Mutex // esbuild resolves in parallel
	found []RuledOut
}

// ours marks resolutions that the plugin itself asked for.
type ours struct{}

func (i *imports) plugin() esbuild.Plugin {
	return esbuild.Plugin{Name: "node-builtins", Setup: func(b esbuild.PluginBuild) {
		b.OnResolve(esbuild.OnResolveOptions{Filter: `^node:`}, func(a esbuild.OnResolveArgs) (esbuild.OnResolveResult, error) {
			return i.external(a), nil
		})
		filter := `^(` + strings.Join(builtins, "|") + `)(/.*)?$`
		b.OnResolve(esbuild.OnResolveOptions{Filter: filter}, func(a esbuild.OnResolveArgs) (esbuild.OnResolveResult, error) {
			if _, again := a.PluginData.(ours); again {
				return esbuild.OnResolveResult{}, nil
			}
			// A package of the same name, or a "browser" field, may stand in.
			r := b.Resolve(a.Path, esbuild.ResolveOptions{
				Importer: a.Importer, Namespace: a.Namespace, ResolveDir: a.ResolveDir, Kind: a.Kind, PluginData: ours{},
			})
			if len(r.Errors) == 0 && !r.External {
				return esbuild.OnResolveResult{}, nil
			}
			return i.external(a), nil
		})
	}}
}

func (i *imports) external(a esbuild.OnResolveArgs) esbuild.OnResolveResult {
	file, err := filepath.Rel(i.dir, a.Importer)
	if err != nil {
		file = a.Importer
	}
	found := RuledOut{Runtime: api.RuntimeBrowser, Import: a.Path, File: filepath.ToSlash(file), Line: lineOf(a.Importer, a.Path)}
	i.add(found)
	return esbuild.OnResolveResult{Path: a.Path, External: true}
}

func (i *imports) add(found RuledOut) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.found = append(i.found, found)
}

// sorted gives each import once, the pack's own files before its dependencies.
func (i *imports) sorted() []RuledOut {
	i.mu.Lock()
	defer i.mu.Unlock()
	slices.SortFunc(i.found, func(a, b RuledOut) int {
		if da, db := strings.Contains(a.File, "node_modules/"), strings.Contains(b.File, "node_modules/"); da != db {
			if da {
				return 1
			}
			return -1
		}
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return strings.Compare(a.Import, b.Import)
	})
	return slices.Compact(i.found)
}

// lineOf finds the line that names an import; esbuild does not tell plugins.
func lineOf(file, specifier string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	return lineIn(data, specifier)
}

func lineIn(data []byte, specifier string) int {
	for _, quote := range []string{`"`, `'`, "`"} {
		if at := bytes.Index(data, []byte(quote+specifier+quote)); at >= 0 {
			return 1 + bytes.Count(data[:at], []byte("\n"))
		}
	}
	return 0
}
