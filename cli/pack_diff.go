package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/cli/bundle"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// packDiff is what is different between two versions.
type packDiff struct {
	From    api.Pack     `json:"from"`
	To      api.Pack     `json:"to"`
	Same    bool         `json:"same"`
	Changes []packChange `json:"changes"`
	Imports *nameDiff    `json:"imports,omitempty"` // of the runtime, by the bundle itself
	Files   *nameDiff    `json:"files,omitempty"`   // source files and npm packages in the bundle
}

// packChange is one field that differs; a field of the metadata has its path.
type packChange struct {
	Field string `json:"field"`
	From  any    `json:"from"`
	To    any    `json:"to"`
}

type nameDiff struct {
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
}

func (n *nameDiff) empty() bool { return n == nil || len(n.Added)+len(n.Removed) == 0 }

func (a *app) packDiffCommand() *cobra.Command {
	var bundles, exitCode bool
	cmd := &cobra.Command{
		Use: "diff <name@version|id> <name@version|id>", Aliases: []string{"compare"}, Short: "Show what differs between two versions of a pack",
		Long: `Show what differs between two versions: runtime, format, size, digest, visibility,
description and metadata, and, from the bundles themselves, the imports that the
runtime must serve and the source files and npm packages inside. A version alone is
one of the first pack; without a version the latest counts.`,
		Example: "  stark pack diff greeter@1.0.0 greeter@1.1.0\n  stark pack diff greeter@1.0.0 1.1.0 --bundles=false\n  stark pack diff greeter@1.0.0 greeter -o json",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			d, err := diffPacks(cmd.Context(), c, args[0], args[1], bundles)
			if err != nil {
				return err
			}
			view := view[packDiff]{kind: "pack", id: func(d packDiff) string { return d.To.ID }}
			if err := printOne(a, view, d, func(w io.Writer) { describeDiff(w, d) }); err != nil {
				return err
			}
			if exitCode && !d.Same {
				return silent(exitError)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&bundles, "bundles", true, "fetch both bundles and look into them")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with 1 when anything differs")
	return cmd
}

func diffPacks(ctx context.Context, c *client.Client, one, other string, bundles bool) (packDiff, error) {
	from, err := packAt(ctx, c, one, "")
	if err != nil {
		return packDiff{}, err
	}
	to, err := packAt(ctx, c, other, from.Name)
	if err != nil {
		return packDiff{}, err
	}
	d := packDiff{From: from, To: to, Changes: packChanges(from, to)}
	if bundles && from.BundleSHA256 != to.BundleSHA256 {
		before, err := inside(ctx, c, from)
		if err != nil {
			return d, err
		}
		after, err := inside(ctx, c, to)
		if err != nil {
			return d, err
		}
		d.Imports, d.Files = namesDiff(before.Imports, after.Imports), namesDiff(before.Files, after.Files)
	}
	d.Same = len(d.Changes) == 0 && d.Imports.empty() && d.Files.empty()
	return d, nil
}

// packAt finds a pack by id, name@version, name, or a version of the pack called name.
func packAt(ctx context.Context, c *client.Client, ref, name string) (api.Pack, error) {
	version := ref
	if name == "" || strings.Contains(ref, "@") || !api.ValidVersion(ref) {
		name, version, _ = strings.Cut(ref, "@")
	}
	p, err := findPack(ctx, c, name, version)
	if fault.CodeOf(err) == fault.NotFound && !strings.Contains(err.Error(), "stark pack versions") { // not even another version
		err = named(err, "pack", name)
	}
	return p, err
}

func inside(ctx context.Context, c *client.Client, p api.Pack) (bundle.Content, error) {
	code, err := c.DownloadBundle(ctx, p.ID)
	if err != nil {
		return bundle.Content{}, fmt.Errorf("%s %s: %w", p.Name, p.Version, err)
	}
	return bundle.Inside(code), nil
}

// packChanges lists the fields of users that differ; those that the cluster gives, such
// as ids and times, always do.
func packChanges(from, to api.Pack) []packChange {
	changes := []packChange{}
	add := func(field string, before, after any) {
		if !reflect.DeepEqual(before, after) {
			changes = append(changes, packChange{field, before, after})
		}
	}
	add("name", from.Name, to.Name)
	add("runtimeTag", from.RuntimeTag, to.RuntimeTag)
	add("format", from.Format, to.Format)
	add("bundleSha256", from.BundleSHA256, to.BundleSHA256)
	add("bundleSize", from.BundleSize, to.BundleSize)
	add("visibility", from.Visibility, to.Visibility)
	add("description", from.Description, to.Description)
	return append(changes, documentChanges("metadata", from.Metadata, to.Metadata)...)
}

// documentChanges compares objects field by field.
func documentChanges(path string, from, to map[string]any) []packChange {
	keys := map[string]bool{}
	for _, m := range []map[string]any{from, to} {
		for k := range m {
			keys[k] = true
		}
	}
	var changes []packChange
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		before, after := from[k], to[k]
		a, isObject := before.(map[string]any)
		b, isToo := after.(map[string]any)
		switch {
		case isObject && isToo:
			changes = append(changes, documentChanges(path+"."+k, a, b)...)
		case !reflect.DeepEqual(before, after):
			changes = append(changes, packChange{path + "." + k, before, after})
		}
	}
	return changes
}

func namesDiff(before, after []string) *nameDiff {
	without := func(all, some []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(n string) bool { return slices.Contains(some, n) })
	}
	return &nameDiff{Added: without(after, before), Removed: without(before, after)}
}

func describeDiff(w io.Writer, d packDiff) {
	fmt.Fprintf(w, "%s %s -> %s %s\n", d.From.Name, d.From.Version, d.To.Name, d.To.Version)
	if d.Same {
		fmt.Fprintln(w, "nothing differs but the version")
		return
	}
	for _, c := range d.Changes {
		switch {
		case c.Field == "bundleSize":
			fmt.Fprintf(w, "  ~ size: %s -> %s (%+d bytes)\n", size(d.From.BundleSize), size(d.To.BundleSize), d.To.BundleSize-d.From.BundleSize)
		case c.Field == "bundleSha256":
			fmt.Fprintf(w, "  ~ sha256: %.12s -> %.12s\n", d.From.BundleSHA256, d.To.BundleSHA256)
		case c.From == nil || c.From == "":
			fmt.Fprintf(w, "  + %s: %s\n", c.Field, asText(c.To))
		case c.To == nil || c.To == "":
			fmt.Fprintf(w, "  - %s: %s\n", c.Field, asText(c.From))
		default:
			fmt.Fprintf(w, "  ~ %s: %s -> %s\n", c.Field, asText(c.From), asText(c.To))
		}
	}
	describeNames(w, "import", d.Imports)
	describeNames(w, "file", d.Files)
}

func describeNames(w io.Writer, what string, n *nameDiff) {
	if n == nil {
		return
	}
	for _, name := range n.Added {
		fmt.Fprintf(w, "  + %s %s\n", what, clean(name))
	}
	for _, name := range n.Removed {
		fmt.Fprintf(w, "  - %s %s\n", what, clean(name))
	}
}

func asText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return clean(fmt.Sprint(v))
	}
	return clean(string(data))
}
