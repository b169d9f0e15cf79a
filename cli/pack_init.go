package cli

import (
	_ "embed" // the entry of a new pack is part of the program
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/cli/bundle"
	"github.com/stark-orchestrator/stark/shared/api"
)

//go:embed scaffold/index.ts
var scaffoldEntry string

func (a *app) packInitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init <folder>", Short: "Make a folder with a new TypeScript pack",
		Long:    "Make a folder with a new TypeScript pack; the folder's name becomes the pack's. A folder with something in it is refused.",
		Example: "  stark pack init greeter", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return a.initPack(args[0]) },
	}
}

type scaffolded struct {
	Name   string   `json:"name"`
	Folder string   `json:"folder"`
	Files  []string `json:"files"`
}

func (a *app) initPack(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	name := filepath.Base(abs)
	r := api.CreatePackRequest{Name: name, Version: "0.1.0", RuntimeTag: api.TagUniversal}
	if err := r.Validate(); err != nil {
		return err
	}
	entries, err := os.ReadDir(abs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: give the name of a new folder", dir)
	}
	files, err := scaffold(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return err
	}
	out := scaffolded{Name: name, Folder: abs}
	for path, content := range files {
		if err := os.WriteFile(filepath.Join(abs, path), []byte(content), 0o644); err != nil {
			return err
		}
		out.Files = append(out.Files, path)
	}
	slices.Sort(out.Files)
	v := view[scaffolded]{kind: "folder", id: func(s scaffolded) string { return s.Folder }}
	return printOne(a, v, out, func(w io.Writer) {
		fmt.Fprintf(w, "made %s\n\nnext:\n  cd %s && npm install\n  stark dev .                # deploys it here, and again on every save\n", dir, dir)
		fmt.Fprint(w, "or, against a server:\n  stark pack register .\n")
		fmt.Fprintf(w, "  stark pod create %s --wait\n", name)
	})
}

// scaffold gives the files of a new pack.
func scaffold(name string) (map[string]string, error) {
	manifest := map[string]any{"name": name, "version": "0.1.0", "entry": "index.ts", "description": "Says hello, then ticks until it is stopped"}
	pkg := map[string]any{
		"name": name, "version": "0.1.0", "private": true, "type": "module",
		"scripts":         map[string]string{"check": "tsc --noEmit", "bundle": "stark pack bundle ."},
		"devDependencies": map[string]string{"typescript": "^5.6.0"},
	}
	tsconfig := map[string]any{
		"compilerOptions": map[string]any{
			"target": "ES2022", "module": "ESNext", "moduleResolution": "Bundler", "lib": []string{"ES2022", "DOM"},
			"strict": true, "noEmit": true, "skipLibCheck": true,
		},
		"include": []string{"*.ts", "src"},
	}
	files := map[string]string{
		"index.ts": scaffoldEntry, "stark.d.ts": nodejs.Types, ".gitignore": "node_modules/\ndist/\n.stark/\n",
	}
	for path, v := range map[string]any{bundle.ManifestName: manifest, "package.json": pkg, "tsconfig.json": tsconfig} {
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return nil, err
		}
		files[path] = string(data) + "\n"
	}
	return files, nil
}
