package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// clusterStatus is the answer of `stark status`.
type clusterStatus struct {
	APIURL string         `json:"apiUrl"`
	Health map[string]any `json:"health"`
	Counts map[string]int `json:"counts,omitempty"` // what the caller sees
	User   *api.User      `json:"user,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the server is, and how much runs", Example: "  stark status\n  stark status -o json",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context()) },
	}
}

func (a *app) status(ctx context.Context) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	s := clusterStatus{APIURL: a.apiURL()}
	if s.Health, err = c.Health(ctx); err != nil {
		return err
	}
	switch user, err := c.Whoami(ctx); {
	case err == nil:
		s.User = &user
		if s.Counts, err = counts(ctx, c); err != nil {
			return err
		}
	case exitCode(err) != exitNotAllowed:
		return err
	}
	v := view[clusterStatus]{kind: "server", id: func(s clusterStatus) string { return s.APIURL }}
	return printOne(a, v, s, func(w io.Writer) { describeStatus(w, s) })
}

func describeStatus(w io.Writer, s clusterStatus) {
	line(w, "server", s.APIURL)
	for _, key := range []string{"status", "version", "leader"} {
		if v, ok := s.Health[key]; ok {
			line(w, key, fmt.Sprint(v))
		}
	}
	checks, _ := s.Health["checks"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		check, _ := checks[name].(map[string]any)
		text := fmt.Sprint(check["status"])
		if ms, ok := check["latencyMs"].(float64); ok {
			text += fmt.Sprintf(" (%.0fms)", ms)
		}
		if problem, ok := check["error"].(string); ok {
			text += " " + problem
		}
		line(w, "  "+name, text)
	}
	if s.User == nil {
		line(w, "you", "not signed in: `stark auth login` shows more")
		return
	}
	line(w, "you", s.User.Email+" ("+roles(*s.User)+")")
	fmt.Fprintf(w, "nodes:\t%d online of %d\n", s.Counts["nodesOnline"], s.Counts["nodes"])
	fmt.Fprintf(w, "packs:\t%s\n", plural(s.Counts["packs"], "version"))
	fmt.Fprintf(w, "pods:\t%d running, %d pending, %d in all\n", s.Counts["podsRunning"], s.Counts["podsPending"], s.Counts["pods"])
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// counts asks for the totals of lists, without their items.
func counts(ctx context.Context, c *client.Client) (map[string]int, error) {
	one := api.PageQuery{Page: 1, PageSize: 1}
	out := map[string]int{}
	for name, q := range map[string]api.NodeQuery{"nodes": {PageQuery: one}, "nodesOnline": {PageQuery: one, Status: api.NodeOnline}} {
		page, err := c.ListNodes(ctx, q)
		if err != nil {
			return nil, err
		}
		out[name] = page.Total
	}
	for name, q := range map[string]api.PodQuery{
		"pods": {PageQuery: one}, "podsRunning": {PageQuery: one, Status: api.PodRunning}, "podsPending": {PageQuery: one, Status: api.PodPending},
	} {
		page, err := c.ListPods(ctx, q)
		if err != nil {
			return nil, err
		}
		out[name] = page.Total
	}
	page, err := c.ListPacks(ctx, api.PackQuery{PageQuery: one})
	out["packs"] = page.Total
	return out, err
}
