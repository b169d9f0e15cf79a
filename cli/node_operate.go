package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// changeNodes finds each node and changes it; done says what became of it.
func (a *app) changeNodes(cmd *cobra.Command, names []string, change func(ctx context.Context, c *client.Client, n api.Node) (api.Node, error), done func(before, after api.Node) string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	for _, name := range names {
		var before, after api.Node
		err := again(func() (err error) {
			if before, err = findNode(cmd.Context(), c, name); err != nil {
				return err
			}
			after, err = change(cmd.Context(), c, before)
			return err
		})
		if err != nil {
			return err
		}
		if err := printOne(a, nodeView(), after, func(w io.Writer) { fmt.Fprintln(w, done(before, after)) }); err != nil {
			return err
		}
	}
	return nil
}

// again repeats a change that is decided on what was read, when that has changed
// meanwhile: a node is also written by the cluster itself.
func again(change func() error) error {
	const most = 5
	var err error
	for range most {
		err = change()
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != fault.Conflict || f.Details["resourceVersion"] == nil {
			return err
		}
	}
	return err
}

func (a *app) nodeCordonCommand(on bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cordon <name|id>...", Short: "Keep new pods off nodes; what runs there goes on",
		Example: "  stark node cordon worker-1", Args: usageArgs(cobra.MinimumNArgs(1)),
	}
	if !on {
		cmd.Use, cmd.Short = "uncordon <name|id>...", "Let new pods onto nodes again; this also cancels a drain"
		cmd.Example = "  stark node uncordon worker-1"
	}
	word := map[bool]string{true: "cordoned", false: "uncordoned"}[on]
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.changeNodes(cmd, args, func(ctx context.Context, c *client.Client, n api.Node) (api.Node, error) {
			if n.Unschedulable == on {
				return n, nil
			}
			return c.UpdateNode(ctx, n.ID, api.UpdateNodeRequest{Unschedulable: &on})
		}, func(before, after api.Node) string {
			if before.Unschedulable == on {
				return fmt.Sprintf("node %s is %s already", after.Name, word)
			}
			return fmt.Sprintf("node %s %s", after.Name, word)
		})
	}
	return cmd
}

func (a *app) nodeMaintenanceCommand() *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "maintenance <name|id>...", Short: "Take nodes out of use, or back with --off",
		Long: `Take nodes out of use. Pods that do not tolerate the taint node.stark.io/maintenance
are evicted at once, without regard to budgets, and none comes until --off. To empty a
node gently, drain it.`,
		Example: "  stark node maintenance worker-1\n  stark node maintenance worker-1 --off", Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			on := !off
			return a.changeNodes(cmd, args, func(ctx context.Context, c *client.Client, n api.Node) (api.Node, error) {
				return c.UpdateNode(ctx, n.ID, api.UpdateNodeRequest{Maintenance: &on})
			}, func(_, after api.Node) string {
				return fmt.Sprintf("node %s is %s", after.Name, map[bool]string{true: "in maintenance", false: "back in use"}[on])
			})
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "end the maintenance")
	return cmd
}

// edits are changes of labels or annotations: key=value sets, key- removes.
type edits struct {
	set    map[string]string
	remove []string
}

func parseEdits(what string, args []string) (edits, error) {
	e := edits{set: map[string]string{}}
	for _, arg := range args {
		key, value, sets := strings.Cut(arg, "=")
		switch {
		case sets && key != "":
			e.set[key] = value
		case !sets && strings.HasSuffix(arg, "-") && len(arg) > 1:
			e.remove = append(e.remove, strings.TrimSuffix(arg, "-"))
		default:
			return e, usagef("%s %q: want key=value to set, or key- to remove", what, arg)
		}
	}
	return e, nil
}

// apply changes a copy; what would be overwritten must be meant.
func (e edits) apply(what, node string, have map[string]string, overwrite bool) (map[string]string, error) {
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	for key, value := range e.set {
		if old, there := out[key]; there && old != value && !overwrite {
			return nil, usagef("node %s has the %s %s=%s already: give --overwrite to change it", node, what, key, old)
		}
		out[key] = value
	}
	for _, key := range e.remove {
		delete(out, key)
	}
	return out, nil
}

func (a *app) nodeLabelCommand(what string) *cobra.Command {
	var overwrite bool
	verb, done := "label", "labelled"
	if what == "annotation" {
		verb, done = "annotate", "annotated"
	}
	cmd := &cobra.Command{
		Use: verb + " <name|id> <key=value|key->...", Short: fmt.Sprintf("Set %ss of a node, or remove them with key-", what),
		Example: fmt.Sprintf("  stark node %s worker-1 zone=a disk=ssd\n  stark node %s worker-1 zone-", verb, verb),
		Args:    usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := parseEdits(what, args[1:])
			if err != nil {
				return err
			}
			return a.changeNodes(cmd, args[:1], func(ctx context.Context, c *client.Client, n api.Node) (api.Node, error) {
				r := api.UpdateNodeRequest{ResourceVersion: n.ResourceVersion}
				var err error
				if what == "label" {
					r.Labels, err = e.apply(what, n.Name, n.Labels, overwrite)
				} else {
					r.Annotations, err = e.apply(what, n.Name, n.Annotations, overwrite)
				}
				if err != nil {
					return n, err
				}
				return c.UpdateNode(ctx, n.ID, r)
			}, func(_, after api.Node) string { return fmt.Sprintf("node %s %s", after.Name, done) })
		},
	}
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "change values that are set already")
	return cmd
}

func (a *app) nodeTaintCommand() *cobra.Command {
	var overwrite bool
	cmd := &cobra.Command{
		Use: "taint <name|id> <key[=value]:Effect|key[:Effect]->...", Short: "Set taints of a node, or remove them with a trailing -",
		Long: `Set taints of a node: NoSchedule keeps pods off that do not tolerate it, PreferNoSchedule
does so where there is another place, and NoExecute also evicts those that run there.
A trailing - removes a taint, with all its effects unless one is named. Taints below
node.stark.io/ that show the node's state are set by the cluster itself.`,
		Example: "  stark node taint worker-1 gpu=yes:NoSchedule\n  stark node taint worker-1 power:NoExecute\n  stark node taint worker-1 gpu-",
		Args:    usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeNodes(cmd, args[:1], func(ctx context.Context, c *client.Client, n api.Node) (api.Node, error) {
				taints, err := editTaints(n, args[1:], overwrite)
				if err != nil {
					return n, err
				}
				return c.UpdateNode(ctx, n.ID, api.UpdateNodeRequest{Taints: &taints, ResourceVersion: n.ResourceVersion})
			}, func(_, after api.Node) string { return fmt.Sprintf("node %s tainted", after.Name) })
		},
	}
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "change the value of a taint that is there")
	return cmd
}

// editTaints gives the taints of a node after the changes. Key and effect name a taint.
func editTaints(n api.Node, args []string, overwrite bool) ([]api.Taint, error) {
	taints := append([]api.Taint{}, n.Taints...)
	for _, arg := range args {
		name, removes := strings.CutSuffix(arg, "-")
		if removes {
			key, effect, _ := strings.Cut(name, ":")
			key, _, _ = strings.Cut(key, "=")
			kept := taints[:0:0]
			for _, t := range taints {
				if t.Key != key || effect != "" && string(t.Effect) != effect {
					kept = append(kept, t)
				}
			}
			if len(kept) == len(taints) {
				return nil, usagef("node %s has no taint %s", n.Name, name)
			}
			taints = kept
			continue
		}
		parsed, err := parseTaints([]string{arg})
		if err != nil {
			return nil, err
		}
		if taints, err = putTaint(n.Name, taints, parsed[0], overwrite); err != nil {
			return nil, err
		}
	}
	return taints, nil
}

func putTaint(node string, taints []api.Taint, t api.Taint, overwrite bool) ([]api.Taint, error) {
	for i, old := range taints {
		if old.Key != t.Key || old.Effect != t.Effect {
			continue
		}
		if old.Value != t.Value && !overwrite {
			return nil, usagef("node %s has the taint %s already: give --overwrite to change it", node, old)
		}
		taints[i].Value = t.Value
		return taints, nil
	}
	return append(taints, t), nil
}
