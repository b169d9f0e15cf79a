package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func (a *app) packCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pack", Aliases: []string{"packs"}, Short: "Make, register and list packs",
		Example: "  stark pack init greeter\n  stark pack register ./greeter\n  stark pack list",
	}
	cmd.AddCommand(
		a.packInitCommand(), a.packBundleCommand(), a.packRegisterCommand(), a.packListCommand(),
		a.completes(a.packVersionsCommand(), false, packNames), a.completes(a.packDiffCommand(), true, packNames), a.completes(a.packInfoCommand(), false, packNames),
		a.completes(a.packDeleteCommand(), false, packNames),
	)
	return cmd
}

func packView() view[api.Pack] {
	return view[api.Pack]{
		kind: "pack", id: func(p api.Pack) string { return p.ID }, empty: "no packs: register one with `stark pack register <folder>`",
		columns: []column[api.Pack]{
			{"ID", func(p api.Pack) string { return p.ID }},
			{"NAME", func(p api.Pack) string { return p.Name }},
			{"VERSION", func(p api.Pack) string { return p.Version }},
			{"RUNTIME", func(p api.Pack) string { return string(p.RuntimeTag) }},
			{"VISIBILITY", func(p api.Pack) string { return string(p.Visibility) }},
			{statusColumn, func(p api.Pack) string { return string(p.Status) }},
			{"SIZE", func(p api.Pack) string { return size(p.BundleSize) }},
			{"AGE", func(p api.Pack) string { return age(p.CreatedAt) }},
		},
	}
}

func describePack(w io.Writer, p api.Pack) {
	line(w, "name", p.Name)
	line(w, "version", p.Version)
	line(w, "id", p.ID)
	line(w, "description", p.Description)
	line(w, "runtime", string(p.RuntimeTag))
	line(w, "visibility", string(p.Visibility))
	line(w, "status", string(p.Status))
	line(w, "format", string(p.Format))
	line(w, "size", size(p.BundleSize))
	line(w, "sha256", p.BundleSHA256)
	line(w, "owner", p.OwnerID)
	line(w, "registered", at(&p.CreatedAt))
}

func (a *app) packListCommand() *cobra.Command {
	var q api.PackQuery
	var p paging
	var runtime string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the packs that you see, newest first",
		Example: "  stark pack list\n  stark pack list --runtime node --search greet -o json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q.RuntimeTag = api.RuntimeTag(runtime)
			if err := q.Validate(); err != nil {
				return err
			}
			packs, total, err := collect(p, func(page api.PageQuery) (api.Page[api.Pack], error) {
				q.PageQuery = page
				return c.ListPacks(cmd.Context(), q)
			})
			if err != nil {
				return err
			}
			if err := printList(a, packView(), packs); err != nil {
				return err
			}
			a.more(len(packs), 0, total, "--page")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&runtime, "runtime", "r", "", "only packs with this runtime tag: node, browser or universal")
	f.StringVarP(&q.Search, "search", "s", "", "part of the name")
	f.StringVar(&q.Name, "name", "", "only versions of this pack")
	p.flags(cmd)
	return cmd
}

func (a *app) packVersionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "versions <name>", Short: "List the versions of a pack, newest first", Example: "  stark pack versions greeter",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			versions, err := c.PackVersions(cmd.Context(), args[0])
			if err != nil {
				return named(err, "pack", args[0])
			}
			return printList(a, view[api.PackVersion]{
				kind: "pack", id: func(v api.PackVersion) string { return v.ID }, empty: "no versions",
				columns: []column[api.PackVersion]{
					{"ID", func(v api.PackVersion) string { return v.ID }},
					{"VERSION", func(v api.PackVersion) string { return v.Version }},
					{"RUNTIME", func(v api.PackVersion) string { return string(v.RuntimeTag) }},
					{"LATEST", func(v api.PackVersion) string { return map[bool]string{true: "latest"}[v.Latest] }},
					{"AGE", func(v api.PackVersion) string { return age(v.CreatedAt) }},
				},
			}, versions)
		},
	}
}

func (a *app) packInfoCommand() *cobra.Command {
	var version string
	cmd := &cobra.Command{
		Use: "info <name|id>", Short: "Show one version of a pack", Example: "  stark pack info greeter\n  stark pack info greeter --ver 0.1.0",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := findPack(cmd.Context(), c, args[0], version)
			if err != nil {
				return err
			}
			return printOne(a, packView(), p, func(w io.Writer) { describePack(w, p) })
		},
	}
	cmd.Flags().StringVarP(&version, "ver", "V", "", "version (default: the latest)")
	return cmd
}

// findPack gives a pack by its id, or by name and version; without a version the
// latest.
func findPack(ctx context.Context, c *client.Client, nameOrID, version string) (api.Pack, error) {
	if api.ValidID(nameOrID) {
		return c.GetPack(ctx, nameOrID)
	}
	versions, err := c.PackVersions(ctx, nameOrID)
	if err != nil {
		return api.Pack{}, err
	}
	for _, v := range versions {
		if v.Version == version || (version == "" && v.Latest) {
			return c.GetPack(ctx, v.ID)
		}
	}
	if version == "" && len(versions) > 0 { // pre-releases alone have no latest
		return c.GetPack(ctx, versions[0].ID)
	}
	return api.Pack{}, fault.New(fault.NotFound, "no pack %q with version %q: `stark pack versions %s` lists them", nameOrID, version, nameOrID)
}

func (a *app) packDeleteCommand() *cobra.Command {
	var version string
	var force bool
	cmd := &cobra.Command{
		Use: "delete <name|id>", Aliases: []string{"rm"}, Short: "Delete one version of a pack",
		Example: "  stark pack delete greeter --ver 0.1.0 --force", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if version == "" && !api.ValidID(args[0]) {
				return usagef("--ver is needed: one version is deleted at a time")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := findPack(cmd.Context(), c, args[0], version)
			if err != nil {
				return err
			}
			if !force {
				if err := a.confirm(cmd.Context(), fmt.Sprintf("Delete %s %s and its bundle?", p.Name, p.Version)); err != nil {
					return err
				}
			}
			if err := c.DeletePack(cmd.Context(), p.ID); err != nil {
				return err
			}
			return a.done(map[string]any{"deleted": p.ID}, "deleted %s %s", p.Name, p.Version)
		},
	}
	cmd.Flags().StringVarP(&version, "ver", "V", "", "version")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	return cmd
}
