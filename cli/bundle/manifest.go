// Package bundle turns a folder or a file of JavaScript or TypeScript into one
// bundle that Stark can run: it reads the pack's manifest, bundles with esbuild,
// finds out on which runtimes the result runs, and names the import that rules
// a runtime out. It installs nothing and talks to nobody.
package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/stark-orchestrator/stark/shared/api"
)

// ManifestName is the file that describes a pack, at the root of its folder.
const ManifestName = "stark.pack.json"

// maxManifest bounds the manifest and package.json, in bytes.
const maxManifest = 1 << 20

// Manifest is the content of stark.pack.json. Every field may be left out.
type Manifest struct {
	Schema      string            `json:"$schema,omitempty"`
	Name        string            `json:"name,omitempty"`        // default: that of package.json, else the folder's
	Version     string            `json:"version,omitempty"`     // default: that of package.json, else 0.1.0
	Entry       string            `json:"entry,omitempty"`       // default: the first of index and main, .ts .mts .js .mjs .cjs, also below src
	RuntimeTag  api.RuntimeTag    `json:"runtimeTag,omitempty"`  // default: found out from the imports
	Description string            `json:"description,omitempty"` // default: that of package.json
	Visibility  api.Visibility    `json:"visibility,omitempty"`  // default: private
	Env         map[string]string `json:"env,omitempty"`         // defaults for the pods' env
	Metadata    map[string]any    `json:"metadata,omitempty"`
	Minify      bool              `json:"minify,omitempty"`
}

// packageJSON is what package.json adds.
type packageJSON struct {
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Description  string            `json:"description"`
	Dependencies map[string]string `json:"dependencies"`
}

// Load reads the manifest of a folder, or makes one up for a single file, and
// fills every default. The folder it gives is where imports are resolved from.
func Load(source string) (Manifest, string, error) {
	source, err := filepath.Abs(source)
	if err != nil {
		return Manifest{}, "", err
	}
	info, err := os.Stat(source)
	if err != nil {
		return Manifest{}, "", fmt.Errorf("pack %s: %w", source, err)
	}
	dir := source
	var m Manifest
	if info.IsDir() {
		if err := readJSON(filepath.Join(dir, ManifestName), &m, true); err != nil {
			return Manifest{}, "", err
		}
	} else {
		dir = filepath.Dir(source)
		m = Manifest{Entry: filepath.Base(source), Name: packName(strings.TrimSuffix(filepath.Base(source), filepath.Ext(source)))}
	}
	var pkg packageJSON
	if info.IsDir() {
		if err := readJSON(filepath.Join(dir, "package.json"), &pkg, false); err != nil {
			return Manifest{}, "", err
		}
	}
	m.fill(pkg, dir)
	if m.Entry == "" {
		if m.Entry, err = findEntry(dir); err != nil {
			return Manifest{}, "", err
		}
	}
	return m, dir, nil
}

func (m *Manifest) fill(pkg packageJSON, dir string) {
	first := func(values ...string) string {
		for _, v := range values {
			if v != "" {
				return v
			}
		}
		return ""
	}
	m.Name = first(m.Name, packName(pkg.Name), packName(filepath.Base(dir)), "pack")
	m.Version = first(m.Version, pkg.Version, "0.1.0")
	m.Description = first(m.Description, pkg.Description)
	if m.RuntimeTag == "isomorphic" {
		m.RuntimeTag = api.TagUniversal
	}
}

// readJSON reads a bounded JSON file; an absent one leaves v as it is.
func readJSON(path string, v any, strict bool) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(data) > maxManifest {
		return fmt.Errorf("%s: larger than %d bytes", path, maxManifest)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// packName makes a valid pack name of any other name; the scope of an npm name
// is dropped. It gives "" where nothing is left.
func packName(s string) string {
	if _, after, scoped := strings.Cut(s, "/"); scoped && strings.HasPrefix(s, "@") {
		s = after
	}
	s = notInName.ReplaceAllString(s, "-")
	s = strings.TrimLeft(s, "-_0123456789")
	return strings.TrimRight(s[:min(len(s), 64)], "-")
}

func findEntry(dir string) (string, error) {
	for _, sub := range []string{"", "src"} {
		for _, base := range []string{"index", "main"} {
			for _, ext := range []string{".ts", ".mts", ".tsx", ".js", ".mjs", ".cjs"} {
				entry := filepath.Join(sub, base+ext)
				if info, err := os.Stat(filepath.Join(dir, entry)); err == nil && info.Mode().IsRegular() {
					return entry, nil
				}
			}
		}
	}
	return "", fmt.Errorf("%s has no entry: looked for index and main (.ts .mts .tsx .js .mjs .cjs) there and in src; name it as \"entry\" in %s", dir, ManifestName)
}
