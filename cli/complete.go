package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// completeTimeout bounds what a press of the tab key waits for.
const completeTimeout = 2 * time.Second

// completes offers names from the server for the arguments of a command: one, or
// any number. Without a server or a session there is nothing to offer.
func (a *app) completes(cmd *cobra.Command, many bool, names func(context.Context, *client.Client) ([]cobra.Completion, error)) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 && !many || a.prepare(cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		all, err := names(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(all, func(s cobra.Completion) bool {
			word, _, _ := strings.Cut(s, "\t")
			return !strings.HasPrefix(word, begun) || slices.Contains(args, word)
		}), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// firstPage is as much as anybody picks from.
func firstPage() api.PageQuery { return api.PageQuery{Page: 1, PageSize: api.MaxPageSize} }

func podNames(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
	page, err := c.ListPods(ctx, api.PodQuery{PageQuery: firstPage()})
	out := make([]cobra.Completion, len(page.Items))
	for i, p := range page.Items {
		out[i] = cobra.CompletionWithDesc(p.ID, p.PackName+" "+string(p.Status))
	}
	return out, err
}

func nodeNames(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
	page, err := c.ListNodes(ctx, api.NodeQuery{PageQuery: firstPage()})
	out := make([]cobra.Completion, len(page.Items))
	for i, n := range page.Items {
		out[i] = cobra.CompletionWithDesc(n.Name, string(n.Status))
	}
	return out, err
}

func packNames(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
	page, err := c.ListPacks(ctx, api.PackQuery{PageQuery: firstPage()})
	var out []cobra.Completion
	for _, p := range page.Items {
		if !slices.Contains(out, p.Name) {
			out = append(out, p.Name)
		}
	}
	return out, err
}

// completeOutput offers the output formats.
func completeOutput(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{string(formatTable), string(formatJSON), string(formatYAML), string(formatName)}, cobra.ShellCompDirectiveNoFileComp
}
