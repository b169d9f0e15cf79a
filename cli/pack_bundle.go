package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/cli/bundle"
	"github.com/stark-orchestrator/stark/shared/api"
)

// sidecar is what `pack bundle` writes beside a bundle, so that `pack register`
// needs no flags.
type sidecar struct {
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	RuntimeTag  api.RuntimeTag    `json:"runtimeTag"`
	Format      api.ModuleFormat  `json:"format"`
	SHA256      string            `json:"sha256"`
	Size        int64             `json:"size"`
	Description string            `json:"description,omitempty"`
	Visibility  api.Visibility    `json:"visibility,omitempty"`
	Env         map[string]string `json:"env,omitempty"`
	Metadata    map[string]any    `json:"metadata,omitempty"`
}

func sidecarOf(r bundle.Result) sidecar {
	return sidecar{
		Name: r.Manifest.Name, Version: r.Manifest.Version, RuntimeTag: r.RuntimeTag, Format: r.Format,
		SHA256: r.SHA256, Size: int64(len(r.Code)), Description: r.Manifest.Description,
		Visibility: r.Manifest.Visibility, Env: r.Manifest.Env, Metadata: r.Manifest.Metadata,
	}
}

// sidecarPath gives the place of a bundle's sidecar.
func sidecarPath(bundlePath string) string { return bundlePath + ".json" }

// bundled is the answer of `pack bundle`.
type bundled struct {
	Bundle string `json:"bundle"`
	sidecar
	RuledOut []bundle.RuledOut `json:"ruledOut,omitempty"`
	Warnings []string          `json:"warnings,omitempty"`
}

func (a *app) packBundleCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "bundle [folder|file]", Short: "Bundle a pack with its dependencies into one file",
		Long: `Bundle a folder (default: this one) or a file of JavaScript or TypeScript with its
npm dependencies into one file, and write beside it what "stark pack register"
needs to know. Nothing is installed: run "npm install" before.`,
		Example: "  stark pack bundle .\n  stark pack bundle ./greeter --out build/greeter.js",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			source := "."
			if len(args) > 0 {
				source = args[0]
			}
			return a.bundle(source, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "where to write the bundle (default: dist/<name>.js in the pack's folder)")
	return cmd
}

func (a *app) bundle(source, out string) error {
	r, err := bundle.Bundle(source)
	if err != nil {
		return err
	}
	if out == "" {
		dir := source
		if info, err := os.Stat(source); err != nil || !info.IsDir() {
			dir = filepath.Dir(source)
		}
		out = filepath.Join(dir, "dist", r.Manifest.Name+".js")
	}
	if err := writeBundle(out, r); err != nil {
		return err
	}
	answer := bundled{Bundle: out, sidecar: sidecarOf(r), RuledOut: r.RuledOut, Warnings: r.Warnings}
	v := view[bundled]{kind: "bundle", id: func(b bundled) string { return b.Bundle }}
	return printOne(a, v, answer, func(w io.Writer) {
		fmt.Fprintf(w, "%s  %s %s  %s  %s  sha256 %s  %s\n", out, r.Manifest.Name, r.Manifest.Version,
			runsOn(r), size(answer.Size), r.SHA256[:12], seconds(r.Took))
		for _, warning := range r.Warnings {
			fmt.Fprintf(w, "warning: %s\n", warning)
		}
	})
}

// runsOn tells on which runtimes a bundle runs, and the first reason against one.
func runsOn(r bundle.Result) string {
	text := "runs on: node, browser"
	if r.RuntimeTag != api.TagUniversal {
		text = "runs on: " + string(r.RuntimeTag)
	}
	if len(r.RuledOut) > 0 {
		text += " (" + r.RuledOut[0].String() + ")"
	}
	return text
}

func writeBundle(path string, r bundle.Result) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, r.Code, 0o644); err != nil {
		return err
	}
	data, err := json.MarshalIndent(sidecarOf(r), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(sidecarPath(path), append(data, '\n'), 0o644)
}
