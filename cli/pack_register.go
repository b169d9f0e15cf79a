package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/cli/bundle"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// registration is a pack version and its bundle, ready to be sent.
type registration struct {
	sidecar
	code     []byte
	ruledOut []bundle.RuledOut // what is known to rule the browser out
}

func (a *app) packRegisterCommand() *cobra.Command {
	var given sidecar
	var runtime, visibility string
	cmd := &cobra.Command{
		Use: "register <folder|bundle.js>", Short: "Register a version of a pack and upload its bundle",
		Long: `Register a version of a pack and upload its bundle. A folder is bundled first. For
a file that "stark pack bundle" wrote, everything is known already; any other
JavaScript file is taken as it is and needs --name and --ver. It is read for imports
of Node.js modules: they rule the browser out.`,
		Example: "  stark pack register ./greeter\n  stark pack register dist/greeter.js --ver 0.2.0\n  stark pack register tick.js -n tick -V 1.0.0 -r node",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			given.RuntimeTag, given.Visibility = api.RuntimeTag(runtime), api.Visibility(visibility)
			reg, err := loadRegistration(args[0], given)
			if err != nil {
				return err
			}
			return a.register(cmd.Context(), reg)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&given.Name, "name", "n", "", "name of the pack (default: the manifest's)")
	f.StringVarP(&given.Version, "ver", "V", "", "version (default: the manifest's)")
	f.StringVarP(&runtime, "runtime", "r", "", "runtime tag: node, browser or universal (default: found out)")
	f.StringVarP(&given.Description, "description", "d", "", "description")
	f.StringVar(&visibility, "visibility", "", "private or public (default private)")
	return cmd
}

// loadRegistration bundles a folder or reads a bundle; what is given wins.
func loadRegistration(source string, given sidecar) (registration, error) {
	info, err := os.Stat(source)
	if err != nil {
		return registration{}, err
	}
	var reg registration
	file := source
	switch ext := strings.ToLower(filepath.Ext(source)); {
	case info.IsDir(), ext == ".ts", ext == ".mts", ext == ".tsx":
		r, err := bundle.Bundle(source)
		if err != nil {
			return registration{}, err
		}
		reg = registration{sidecar: sidecarOf(r), code: r.Code, ruledOut: r.RuledOut}
		file = r.Manifest.Name + ".js"
	case info.Size() > api.MaxBundleBytes:
		return registration{}, fmt.Errorf("%s has %d bytes, allowed are %d", source, info.Size(), api.MaxBundleBytes)
	default:
		if reg, err = readBundle(source, given); err != nil {
			return registration{}, err
		}
	}
	if err := reg.settleRuntime(file, given.RuntimeTag); err != nil {
		return registration{}, err
	}
	reg.override(given)
	r := reg.request()
	return reg, r.Validate()
}

// settleRuntime finds out where a bundle runs whose tag nobody has told, and refuses a
// tag that promises a browser which an import rules out. What `stark pack bundle` has
// found stands; that a bundle is for Node.js alone is believed without a look.
func (r *registration) settleRuntime(file string, given api.RuntimeTag) error {
	tag := given
	if tag == "" {
		tag = r.RuntimeTag
	}
	promises := tag == "" || tag == api.TagBrowser || tag == api.TagUniversal
	if known := tag != "" && tag == r.RuntimeTag; known || !promises {
		return nil
	}
	if len(r.ruledOut) == 0 {
		var err error
		if r.ruledOut, err = bundle.RuledOutOf(file, r.code); err != nil {
			return err
		}
	}
	switch {
	case len(r.ruledOut) == 0 && tag == "":
		r.RuntimeTag = api.TagUniversal
	case tag == "":
		r.RuntimeTag = api.TagNode
	case len(r.ruledOut) > 0:
		return bundle.FlagContradiction(r.ruledOut, tag)
	}
	return nil
}

func (r *registration) override(given sidecar) {
	r.Name = orDefault(given.Name, r.Name)
	r.Version = orDefault(given.Version, r.Version)
	r.Description = orDefault(given.Description, r.Description)
	if given.RuntimeTag != "" {
		r.RuntimeTag = given.RuntimeTag
	}
	if given.Visibility != "" {
		r.Visibility = given.Visibility
	}
}

// readBundle reads a bundle and what was written beside it.
func readBundle(path string, given sidecar) (registration, error) {
	code, err := os.ReadFile(path)
	if err != nil {
		return registration{}, err
	}
	sum := sha256.Sum256(code)
	digest := hex.EncodeToString(sum[:])
	reg := registration{code: code}
	data, err := os.ReadFile(sidecarPath(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if given.Name == "" || given.Version == "" {
			return reg, usagef("%s was not made by `stark pack bundle`: give --name and --ver, or register the pack's folder", path)
		}
		reg.Format = formatOf(path, code)
	case err != nil:
		return reg, err
	default:
		if err := json.Unmarshal(data, &reg.sidecar); err != nil {
			return reg, fmt.Errorf("%s: %w", sidecarPath(path), err)
		}
		if reg.SHA256 != digest {
			return reg, fmt.Errorf("%s has changed since `stark pack bundle` made it: bundle again", path)
		}
	}
	reg.SHA256, reg.Size = digest, int64(len(code))
	return reg, nil
}

var exportStatement = regexp.MustCompile(`(?m)^\s*export\s*(default\b|\{|async\b|function\b|const\b|class\b)`)

// formatOf guesses the module format of a bundle that others made.
func formatOf(path string, code []byte) api.ModuleFormat {
	if filepath.Ext(path) == ".mjs" || (filepath.Ext(path) != ".cjs" && exportStatement.Match(code)) {
		return api.FormatESM
	}
	return api.FormatCommonJS
}

// request carries the manifest's env as defaults for the pods' environment.
func (r *registration) request() api.CreatePackRequest {
	metadata := r.Metadata
	if len(r.Env) > 0 {
		metadata = maps.Clone(metadata)
		if metadata == nil {
			metadata = map[string]any{}
		}
		metadata["env"] = r.Env
	}
	return api.CreatePackRequest{
		Name: r.Name, Version: r.Version, RuntimeTag: r.RuntimeTag, Visibility: r.Visibility, Format: r.Format,
		Description: r.Description, Metadata: metadata,
	}
}

func (r *registration) bundle(progress func(int64)) client.Bundle {
	return client.Bundle{
		Open:     func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.code)), nil },
		Size:     int64(len(r.code)),
		Progress: progress,
	}
}

func (a *app) register(ctx context.Context, reg registration) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	bar := a.progressBar("uploading "+reg.Name, int64(len(reg.code)))
	p, err := c.CreatePack(ctx, reg.request(), reg.bundle(bar.set))
	bar.end()
	if foreignName(err) {
		return withHint(err, "choose another name in %s", bundle.ManifestName)
	}
	if fault.CodeOf(err) == fault.Conflict {
		return withHint(err, "versions never change: raise the version, or give another one with --ver; `stark pack versions %s` lists them", reg.Name)
	}
	if err != nil {
		return err
	}
	return printOne(a, packView(), p, func(w io.Writer) {
		fmt.Fprintf(w, "registered %s %s (%s, %s)\n", p.Name, p.Version, p.RuntimeTag, size(p.BundleSize))
		fmt.Fprintf(w, "run it: stark pod create %s --wait\n", p.Name)
	})
}

// foreignName reports whether a pack was refused for its name, which no other
// version mends; both refusals are conflicts.
func foreignName(err error) bool {
	return fault.CodeOf(err) == fault.Conflict && strings.Contains(err.Error(), "belongs to another user")
}
