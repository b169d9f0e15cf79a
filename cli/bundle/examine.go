package bundle

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	esbuild "github.com/evanw/esbuild/pkg/api"

	"github.com/stark-orchestrator/stark/shared/api"
)

// RuledOutOf reads a file of JavaScript that goes to the nodes as it is, bundled by
// whatever tool, and gives the imports of Node.js modules that a browser cannot serve:
// those that would rule it out in a pack's folder too. Nothing is run or written. Its
// error is an [*Error]: a file that is no JavaScript. file is what places are told by.
func RuledOutOf(file string, code []byte) ([]RuledOut, error) {
	file = filepath.Base(file)
	found, result := examine(file, code, esbuild.FormatCommonJS)
	if slices.ContainsFunc(result.Errors, isTopLevelAwait) {
		found, result = examine(file, code, esbuild.FormatESModule)
	}
	if len(result.Errors) > 0 {
		return nil, &Error{Messages: texts(result.Errors)}
	}
	return found, nil
}

func examine(file string, code []byte, format esbuild.Format) ([]RuledOut, esbuild.BuildResult) {
	seen := &imports{}
	plugin := esbuild.Plugin{Name: "imports", Setup: func(b esbuild.PluginBuild) {
		// Nothing is beside the file on a node: no package can stand in for a module of
		// Node.js, and what else it imports is not looked for.
		b.OnResolve(esbuild.OnResolveOptions{Filter: `.`}, func(a esbuild.OnResolveArgs) (esbuild.OnResolveResult, error) {
			if isBuiltin(a.Path) {
				seen.add(RuledOut{Runtime: api.RuntimeBrowser, Import: a.Path, File: file, Line: lineIn(code, a.Path)})
			}
			return esbuild.OnResolveResult{Path: a.Path, External: true}, nil
		})
	}}
	result := esbuild.Build(esbuild.BuildOptions{
		Stdin:       &esbuild.StdinOptions{Contents: string(code), Sourcefile: file, Loader: esbuild.LoaderJS},
		Bundle:      true,
		Platform:    esbuild.PlatformBrowser,
		Format:      format,
		Target:      esbuild.ESNext,
		TsconfigRaw: "{}", // not that of the folder where the command is run
		LogLevel:    esbuild.LogLevelSilent,
		Define:      map[string]string{"process.env.NODE_ENV": `"production"`},
		Plugins:     []esbuild.Plugin{plugin},
	})
	return seen.sorted(), result
}

func isBuiltin(name string) bool {
	if strings.HasPrefix(name, "node:") {
		return true
	}
	name, _, _ = strings.Cut(name, "/")
	return slices.Contains(builtins, name)
}

// contradiction is the error where promised, as --runtime or a manifest say it, claims
// a runtime that imports rule out; remedy is what to do.
func contradiction(ruledOut []RuledOut, promised, remedy string) *Error {
	e := &Error{Hint: promised + ": " + remedy}
	for _, r := range ruledOut {
		e.Messages = append(e.Messages, r.String())
	}
	return e
}

// FlagContradiction is the error where the flag --runtime promises a browser which
// imports rule out, in the words that a manifest's promise is refused with.
func FlagContradiction(ruledOut []RuledOut, tag api.RuntimeTag) error {
	return contradiction(ruledOut, fmt.Sprintf("--runtime says %q", tag), "remove the import, or give --runtime node")
}
