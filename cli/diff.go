package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func (a *app) diffCommand() *cobra.Command {
	var files []string
	t := applier{dry: true}
	cmd := &cobra.Command{
		Use: "diff -f <file>", Short: "Show what apply would change",
		Long: `Show what "stark apply" would change, and change nothing: + is added, - removed, ~ changed.

Exit codes: 0 nothing would change, 1 something would, or the answer is not known (then
with an error on stderr).`,
		Example: "  stark diff -f pod.yaml", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			results, err := a.applyAll(cmd.Context(), files, &t)
			if err != nil {
				return err
			}
			changed := false
			for _, r := range results {
				changed = changed || r.Action != "unchanged"
			}
			if a.format() != formatTable {
				err = printList(a, appliedView(), results)
			} else {
				a.writeDiff(results)
			}
			if err == nil && changed {
				return silent(exitError)
			}
			return err
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "file, or - for stdin (repeatable)")
	cmd.Flags().StringVar(&t.namespace, "namespace", "", "namespace of pods whose document names none")
	return cmd
}

func (a *app) writeDiff(results []applied) {
	for _, r := range results {
		fmt.Fprintf(a.stdout, "%s: %s\n", r.Object, map[string]string{
			"created": "would be created", "configured": "would be changed", "replaced": "would need --replace", "unchanged": "as it is",
		}[r.Action])
		for _, d := range r.Changes {
			fmt.Fprintf(a.stdout, "  %s\n", clean(d.String()))
		}
	}
}

func (a *app) deleteCommand() *cobra.Command {
	var files []string
	var t applier
	cmd := &cobra.Command{
		Use: "delete -f <file>", Short: "Stop and remove what files say; nodes stay",
		Long: `Stop the pods and remove the namespaces and priority classes that files name, in the
reverse order of apply. What is gone already is no fault. Nodes stay as they are.
A priority class goes when its pods have ended, for which it waits.`,
		Example: "  stark delete -f pod.yaml", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			results, err := a.deleteAll(cmd.Context(), files, &t)
			return a.printApplied(results, err)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "file, or - for stdin (repeatable)")
	cmd.Flags().StringVar(&t.namespace, "namespace", "", "namespace of pods whose document names none")
	cmd.Flags().DurationVar(&t.timeout, "timeout", 2*time.Minute, "how long to wait for pods before their priority class is removed")
	return cmd
}

func (a *app) deleteAll(ctx context.Context, files []string, t *applier) ([]applied, error) {
	objects, err := a.readManifests(ctx, files)
	if err != nil {
		return nil, err
	}
	if t.c, err = a.client(); err != nil {
		return nil, err
	}
	t.namespace = orDefault(a.namespace(t.namespace), "default")
	var results []applied
	for _, o := range slices.Backward(objects) {
		if err := need(o); err != nil {
			return results, err
		}
		if o.Kind == manifest.KindPriorityClass {
			if err := t.awaitEnds(ctx, results); err != nil {
				return results, fmt.Errorf("%s (%s): %w", o, o.Where, err)
			}
		}
		r, err := t.remove(ctx, o)
		if err != nil {
			return results, fmt.Errorf("%s (%s): %w", o, o.Where, err)
		}
		r.Object = o.String()
		results = append(results, r)
	}
	return results, nil
}

// awaitEnds returns when the pods that were asked to stop have ended.
func (t *applier) awaitEnds(ctx context.Context, results []applied) error {
	limit := time.Now().Add(t.timeout)
	for _, r := range results {
		if r.ID == "" {
			continue
		}
		_, err := waitPod(ctx, t.c, r.ID, time.Until(limit), func(p api.Pod) bool { return p.Status.Terminal() })
		if err != nil && fault.CodeOf(err) != fault.NotFound {
			return fmt.Errorf("wait for %s: %w", r.Object, err)
		}
	}
	return nil
}

func (t *applier) remove(ctx context.Context, o manifest.Object) (applied, error) {
	var err error
	switch o.Kind {
	case manifest.KindNamespace:
		var phase any
		if phase, err = t.c.DeleteNamespace(ctx, o.Name); err == nil && fmt.Sprint(phase) != "" {
			return applied{Action: fmt.Sprint(phase)}, nil
		}
	case manifest.KindPriorityClass:
		err = t.c.DeletePriorityClass(ctx, o.Name)
	case manifest.KindNode:
		return applied{Action: "left alone"}, nil
	default:
		live, _, findErr := t.findApplied(ctx, o)
		if findErr != nil || live == nil {
			return applied{Action: "absent"}, findErr
		}
		_, _, err = t.c.StopPod(ctx, live.ID)
		return applied{Action: "stopping", ID: live.ID}, err
	}
	if absentObject(err) {
		return applied{Action: "absent"}, nil
	}
	return applied{Action: "deleted"}, err
}
