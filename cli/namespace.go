package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

func (a *app) namespaceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "namespace", Aliases: []string{"ns", "namespaces"}, Short: "Separate pods, with quotas, limits and members of their own",
		Example: "  stark namespace create team-a --max-pods 20 --max-memory 8Gi\n  stark namespace quota team-a\n  stark namespace use team-a",
	}
	cmd.AddCommand(
		a.namespaceCreateCommand(), a.namespaceListCommand(),
		a.completes(a.namespaceGetCommand(), false, namespaceNames), a.completes(a.namespaceDeleteCommand(), false, namespaceNames),
		a.completes(a.namespaceQuotaCommand(), false, namespaceNames), a.completes(a.namespaceLimitsCommand(), false, namespaceNames),
		a.completes(a.namespaceUseCommand(), false, namespaceNames), a.namespaceMembersCommand(),
	)
	return cmd
}

func namespaceNames(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
	page, err := c.ListNamespaces(ctx, api.NamespaceQuery{PageQuery: firstPage()})
	out := make([]cobra.Completion, len(page.Items))
	for i, n := range page.Items {
		out[i] = cobra.CompletionWithDesc(n.Name, string(n.Phase))
	}
	return out, err
}

func namespaceView() view[api.Namespace] {
	return view[api.Namespace]{
		kind: "namespace", id: func(n api.Namespace) string { return n.Name }, empty: "no namespaces",
		columns: []column[api.Namespace]{
			{"NAME", func(n api.Namespace) string { return n.Name }},
			{statusColumn, func(n api.Namespace) string { return string(n.Phase) }},
			{"PODS", func(n api.Namespace) string { return usedOf(int64(n.ResourceUsage.Pods), podsOf(hard(n).Pods)) }},
			{"CPU", func(n api.Namespace) string { return usedText(n.ResourceUsage.CPU, hard(n).CPU) }},
			{"MEMORY", func(n api.Namespace) string { return usedText(n.ResourceUsage.Memory, hard(n).Memory) }},
			{"AGE", func(n api.Namespace) string { return age(n.CreatedAt) }},
		},
	}
}

func hard(n api.Namespace) api.Quota {
	if n.ResourceQuota == nil {
		return api.Quota{}
	}
	return n.ResourceQuota.Hard
}

func podsOf(n *int) *int64 {
	if n == nil {
		return nil
	}
	return new(int64(*n))
}

func usedOf(used int64, most *int64) string {
	if most == nil {
		return fmt.Sprint(used)
	}
	return fmt.Sprintf("%d/%d", used, *most)
}

// usedText writes used and allowed, the latter only where there is a bound.
func usedText[T fmt.Stringer](used T, most *T) string {
	if most == nil {
		return used.String()
	}
	return used.String() + "/" + (*most).String()
}

func (a *app) namespaceCreateCommand() *cobra.Command {
	var q quotaFlags
	var labels []string
	cmd := &cobra.Command{
		Use: "create <name>", Short: "Make a namespace",
		Example: "  stark namespace create team-a\n  stark namespace create team-b --max-pods 20 --max-cpu 4 --max-memory 8Gi -l team=b",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.CreateNamespaceRequest{Name: args[0]}
			var err error
			if r.Labels, err = parsePairs("--label", labels); err != nil {
				return err
			}
			quota, budget, err := q.parse(cmd)
			if err != nil {
				return err
			}
			r.ResourceQuota = quota.Quota()
			if budget != nil && budget.MaxUnavailable != nil {
				r.DisruptionBudget = &api.DisruptionBudget{MaxUnavailable: *budget.MaxUnavailable}
			}
			if err := r.Validate(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.CreateNamespace(cmd.Context(), r)
			if err != nil {
				return err
			}
			return printOne(a, namespaceView(), n, func(w io.Writer) { fmt.Fprintf(w, "namespace %s is made\n", n.Name) })
		},
	}
	cmd.Flags().StringArrayVarP(&labels, "label", "l", nil, "label key=value (repeatable)")
	q.flags(cmd)
	return cmd
}

func (a *app) namespaceListCommand() *cobra.Command {
	var q api.NamespaceQuery
	var p paging
	var phase string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List namespaces, with what they use of their quotas",
		Example: "  stark namespace list\n  stark namespace list --phase terminating", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.Phase = api.NamespacePhase(phase)
			if err := q.Validate(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			namespaces, total, err := collect(p, func(page api.PageQuery) (api.Page[api.Namespace], error) {
				q.PageQuery = page
				return c.ListNamespaces(cmd.Context(), q)
			})
			if err != nil {
				return err
			}
			if err := printList(a, namespaceView(), namespaces); err != nil {
				return err
			}
			a.more(len(namespaces), 0, total, "--page")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&phase, "phase", "", "only namespaces in this phase: active or terminating")
	f.StringVar(&q.Search, "search", "", "part of the name")
	f.StringVarP(&q.LabelSelector, "label", "l", "", "label selector, such as team=a")
	p.flags(cmd)
	return cmd
}

func (a *app) namespaceGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get <name>", Aliases: []string{"describe", "info"}, Short: "Show everything about a namespace",
		Example: "  stark namespace get team-a", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.GetNamespace(cmd.Context(), args[0])
			if err != nil {
				return named(err, "namespace", args[0])
			}
			return printOne(a, namespaceView(), n, func(w io.Writer) {
				line(w, "Name", n.Name)
				line(w, "ID", n.ID)
				line(w, "Phase", string(n.Phase))
				rows(w, "Labels", labelRows(n.Labels))
				rows(w, "Annotations", labelRows(n.Annotations))
				line(w, "Created", at(&n.CreatedAt))
				writeQuota(w, api.NamespaceQuota{ResourceQuota: n.ResourceQuota, ResourceUsage: n.ResourceUsage, LimitRange: n.LimitRange, DisruptionBudget: n.DisruptionBudget})
			})
		},
	}
}

func (a *app) namespaceDeleteCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "delete <name>", Aliases: []string{"rm"}, Short: "End a namespace: its pods are stopped, and then it goes",
		Example: "  stark namespace delete team-a --force", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.GetNamespace(cmd.Context(), args[0])
			if err != nil {
				return named(err, "namespace", args[0])
			}
			if !force {
				if err := a.confirm(cmd.Context(), fmt.Sprintf("Delete namespace %s and stop its %d pods?", n.Name, n.ResourceUsage.Pods)); err != nil {
					return err
				}
			}
			phase, err := c.DeleteNamespace(cmd.Context(), n.Name)
			if err != nil {
				return err
			}
			if phase == api.NamespaceTerminating {
				return a.done(map[string]any{"namespace": n.Name, "phase": phase}, "namespace %s is terminating: its pods are stopped, and then it goes", n.Name)
			}
			return a.done(map[string]any{"deleted": n.Name}, "deleted namespace %s", n.Name)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	return cmd
}

func (a *app) namespaceUseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use <name>", Short: "Take a namespace as the default of new pods of yours",
		Example: "  stark namespace use team-a", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.GetNamespace(cmd.Context(), args[0])
			if err != nil {
				return named(err, "namespace", args[0])
			}
			s := a.settings
			s.DefaultNamespace = n.Name
			if err := a.home.write(settingsFile, s); err != nil {
				return err
			}
			return a.done(map[string]any{"defaultNamespace": n.Name}, "new pods go to namespace %s unless --namespace says otherwise", n.Name)
		},
	}
}

// classNames lists the classes of a quota in order.
func classNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// quotaText writes the bounds of a quota that are set.
func quotaText(q api.Quota) string {
	var parts []string
	if q.Pods != nil {
		parts = append(parts, fmt.Sprintf("pods %d", *q.Pods))
	}
	if q.CPU != nil {
		parts = append(parts, "cpu "+q.CPU.String())
	}
	if q.Memory != nil {
		parts = append(parts, "memory "+q.Memory.String())
	}
	if q.Storage != nil {
		parts = append(parts, "storage "+q.Storage.String())
	}
	return strings.Join(parts, ", ")
}
