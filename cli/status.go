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
	"github.com/stark-orchestrator/stark/shared/fault"
)

// clusterStatus is the answer of `stark status`.
type clusterStatus struct {
	APIURL string         `json:"apiUrl"`
	Health map[string]any `json:"health"`
	// Cluster counts also what the caller may not see; absent without a role.
	Cluster *client.ClusterStatus `json:"cluster,omitempty"`
	User    *api.User             `json:"user,omitempty"`
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
	if err := s.askAsUser(ctx, c); err != nil {
		return err
	}
	v := view[clusterStatus]{kind: "server", id: func(s clusterStatus) string { return s.APIURL }}
	return printOne(a, v, s, func(w io.Writer) { describeStatus(w, s) })
}

// askAsUser adds what only users are told; who is not signed in sees the rest.
func (s *clusterStatus) askAsUser(ctx context.Context, c *client.Client) error {
	user, err := c.Whoami(ctx)
	switch {
	case exitCode(err) == exitNotAllowed:
		return nil
	case err != nil:
		return err
	}
	s.User = &user
	cluster, err := c.ClusterStatus(ctx)
	switch {
	case fault.CodeOf(err) == fault.Forbidden:
		return nil
	case err != nil:
		return err
	}
	s.Cluster = &cluster
	return nil
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
	line(w, "you", s.User.Email+" ("+orDefault(roles(*s.User), "no roles: ask an admin")+")")
	if s.Cluster == nil {
		return
	}
	if s.Cluster.Stale {
		line(w, "figures", "from before the database went away")
	}
	line(w, "cluster", string(s.Cluster.Health)+map[bool]string{true: ", led by this server"}[s.Cluster.Leader])
	n := s.Cluster.Stats
	fmt.Fprintf(w, "nodes:\t%d online of %d\n", n.HealthyNodes, n.TotalNodes)
	fmt.Fprintf(w, "cpu:\t%s of %s\n", n.AllocatedCPU, n.TotalCPU)
	fmt.Fprintf(w, "memory:\t%s of %s\n", n.AllocatedMemory, n.TotalMemory)
	fmt.Fprintf(w, "packs:\t%s\n", plural(n.PackCount, "version"))
	fmt.Fprintf(w, "pods:\t%d running, %d pending, %d not ended\n", n.RunningPods, n.PendingPods, n.TotalPods)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
