package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func (a *app) podRollbackCommand() *cobra.Command {
	var r api.RollbackRequest
	var wait bool
	timeout := 2 * time.Minute
	cmd := &cobra.Command{
		Use: "rollback <id>", SuggestFor: []string{"undo", "revert", "upgrade", "update"}, Short: "Take a pod to another version of its pack",
		Long: `Take a pod to another version of its pack, an earlier or a later one. The other
version starts beside the present one, on the same node; the present one stops when
the other is ready. If the other fails, the present one runs on, and the pod says why.

The node needs room for both at once; where it has none, the command says so, and
--now stops the present version first.

Without --to the pod goes back to the newest other version of it that has run well.
Asked again with the present version, it gives up a change under way.

Exit codes with --wait: 0 the other version runs, 1 it has failed, 3 the time is up.`,
		Example: "  stark pod rollback <id> --wait\n  stark pod rollback <id> --to 1.4.2 --reason 'memory leak'\n  stark pod rollback <id> --now",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := r.Validate(); err != nil {
				return err
			}
			id, err := podID(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			out, err := c.RollbackPod(cmd.Context(), id, r)
			if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == fault.InvalidState && e.Details["resource"] != nil {
				return withHint(err, "`stark pod rollback %s --now` stops the present version first, and may use another node", args[0])
			}
			if err != nil {
				return named(err, "pod", args[0])
			}
			if wait {
				if out.Pod, err = waitRollback(cmd.Context(), c, out, timeout); err != nil {
					return err
				}
			}
			return printOne(a, podView(), out.Pod, func(w io.Writer) { fmt.Fprintln(w, rollbackText(out)) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.TargetVersion, "to", "", "the version (default: the newest other one that has run well)")
	f.StringVarP(&r.TargetVersion, "ver", "V", "", "the same as --to")
	f.BoolVar(&r.Now, "now", false, "stop the present version at once")
	f.StringVar(&r.Reason, "reason", "", "why, for the history")
	f.BoolVar(&wait, "wait", false, "wait until the other version runs")
	f.DurationVar(&timeout, "timeout", timeout, "how long to wait")
	return cmd
}

func rollbackText(out api.Rollback) string {
	p := out.Pod
	switch {
	case p.PackVersion == out.NewVersion && out.PreviousVersion == out.NewVersion:
		return fmt.Sprintf("pod %s stays at version %s: the change under way is given up", p.ID, out.NewVersion)
	case p.PackVersion == out.NewVersion:
		return fmt.Sprintf("pod %s is %s at version %s, before %s", p.ID, podStatus(p), out.NewVersion, out.PreviousVersion)
	default:
		return fmt.Sprintf("pod %s goes from version %s to %s: see `stark pod status %s`", p.ID, out.PreviousVersion, out.NewVersion, p.ID)
	}
}

// waitRollback waits until the other version runs, or the pod has given it up.
func waitRollback(ctx context.Context, c *client.Client, out api.Rollback, timeout time.Duration) (api.Pod, error) {
	p, err := waitPod(ctx, c, out.PodID, timeout, func(p api.Pod) bool {
		return p.Status.Terminal() || p.Rollout == nil && (p.PackVersion != out.NewVersion || p.Status == api.PodRunning)
	})
	switch {
	case err != nil:
		return p, err
	case p.PackVersion == out.NewVersion && (p.Status == api.PodRunning || p.Status == api.PodSucceeded):
		return p, nil
	default:
		return p, withHint(fmt.Errorf("pod %s is at version %s, %s%s", p.ID, p.PackVersion, podStatus(p), because(p)), "see `stark pod history %s`", p.ID)
	}
}

// podVersion is one version of a pod's pack and what the pod knows of it.
type podVersion struct {
	api.PackVersion
	Current bool       `json:"current"`
	Next    bool       `json:"next,omitempty"`
	Ran     bool       `json:"ran"` // was ready in this pod
	LastRun *time.Time `json:"lastRun,omitempty"`
}

func podVersionView() view[podVersion] {
	return view[podVersion]{
		kind: "version", id: func(v podVersion) string { return v.Version }, empty: "no versions",
		columns: []column[podVersion]{
			{"VERSION", func(v podVersion) string { return v.Version }},
			{statusColumn, func(v podVersion) string {
				switch {
				case v.Current:
					return "current"
				case v.Next:
					return "on its way"
				case v.Ran:
					return "ran"
				default:
					return ""
				}
			}},
			{"LAST RUN", func(v podVersion) string {
				if v.LastRun == nil {
					return ""
				}
				return age(*v.LastRun) + " ago"
			}},
			{"RUNTIME", func(v podVersion) string { return string(v.RuntimeTag) }},
			{"AGE", func(v podVersion) string { return age(v.CreatedAt) }},
		},
	}
}

func (a *app) podVersionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "versions <id>", Short: "List the versions that a pod can be taken to, newest first",
		Example: "  stark pod versions <id>", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := findPod(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			versions, err := c.PackVersions(cmd.Context(), p.PackName)
			if err != nil {
				return err
			}
			runs, err := c.PodRuns(cmd.Context(), p.ID)
			if err != nil {
				return err
			}
			return printList(a, podVersionView(), podVersions(p, versions, runs))
		},
	}
}

func podVersions(p api.Pod, versions []api.PackVersion, runs []api.Run) []podVersion {
	list := make([]podVersion, len(versions))
	for i, v := range versions {
		list[i] = podVersion{PackVersion: v, Current: v.ID == p.PackID, Next: p.Rollout != nil && p.Rollout.PackID == v.ID}
		for _, r := range runs { // newest first
			if r.PackID == v.ID && r.ReadyAt != nil {
				list[i].Ran, list[i].LastRun = true, r.ReadyAt
				break
			}
		}
	}
	return list
}
