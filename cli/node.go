package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

func (a *app) nodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "node", Aliases: []string{"nodes"}, Short: "Look at nodes, add and remove them",
		Example: "  stark node list\n  stark node invite\n  stark node token create --uses 3\n  stark node agent start --name worker-1",
	}
	cmd.AddCommand(a.nodeListCommand(), a.completes(a.nodeStatusCommand(), false, nodeNames),
		a.completes(a.nodeDeleteCommand(), false, nodeNames), a.nodeTokenCommand(), a.nodeInviteCommand(), a.nodeCredentialCommand(), a.nodeAgentCommand(),
		a.completes(a.nodeTakeCommand(), false, nodeNames), a.completes(a.nodeDescribeCommand(), false, nodeNames),
		a.completes(a.nodeCordonCommand(true), true, nodeNames), a.completes(a.nodeCordonCommand(false), true, nodeNames),
		a.completes(a.nodeDrainCommand(), false, nodeNames), a.completes(a.nodeMaintenanceCommand(), true, nodeNames),
		a.completes(a.nodeLabelCommand("label"), false, nodeNames), a.completes(a.nodeLabelCommand("annotation"), false, nodeNames),
		a.completes(a.nodeTaintCommand(), false, nodeNames), a.completes(a.nodeTopCommand(), false, nodeNames))
	return cmd
}

func nodeView() view[api.Node] {
	return view[api.Node]{
		kind: "node", id: func(n api.Node) string { return n.ID }, empty: "no nodes: start one with `stark node agent start`",
		columns: []column[api.Node]{
			{"NAME", func(n api.Node) string { return n.Name }},
			{statusColumn, nodeStatus},
			{"RUNTIME", func(n api.Node) string {
				return strings.TrimSpace(string(n.RuntimeType) + " " + n.Capabilities.Version)
			}},
			{"PODS", func(n api.Node) string { return fmt.Sprintf("%d/%d", n.Allocated.Pods, n.Allocatable.Pods) }},
			{"CPU", func(n api.Node) string { return fmt.Sprintf("%s/%s", n.Allocated.CPU, n.Allocatable.CPU) }},
			{"MEMORY", func(n api.Node) string { return fmt.Sprintf("%s/%s", n.Allocated.Memory, n.Allocatable.Memory) }},
			{"AGE", func(n api.Node) string { return age(n.CreatedAt) }},
			{"ID", func(n api.Node) string { return n.ID }},
		},
	}
}

func nodeStatus(n api.Node) string {
	if n.Unschedulable {
		return string(n.Status) + " (cordoned)"
	}
	return string(n.Status)
}

func (a *app) nodeListCommand() *cobra.Command {
	var q api.NodeQuery
	var p paging
	var status, runtime string
	var follow bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List nodes", Example: "  stark node list\n  stark node list --status online -l zone=a",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q.Status, q.RuntimeType = api.NodeStatus(status), api.RuntimeType(runtime)
			if err := q.Validate(); err != nil {
				return err
			}
			if follow {
				if err := p.noPaging(); err != nil {
					return err
				}
				return printWatch(cmd.Context(), a, nodeView(), func(a, b api.Node) int { return b.CreatedAt.Compare(a.CreatedAt) }, c.WatchNodes(cmd.Context(), q))
			}
			nodes, total, err := collect(p, func(page api.PageQuery) (api.Page[api.Node], error) {
				q.PageQuery = page
				return c.ListNodes(cmd.Context(), q)
			})
			if err != nil {
				return err
			}
			if err := printList(a, nodeView(), nodes); err != nil {
				return err
			}
			a.more(len(nodes), 0, total, "--page")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&status, "status", "s", "", "only nodes in this status")
	f.StringVarP(&runtime, "runtime", "r", "", "only nodes of this runtime: node or browser")
	f.StringVar(&q.Search, "search", "", "part of the name")
	f.StringVarP(&q.LabelSelector, "label", "l", "", "label selector, such as zone=a,gpu")
	watchFlag(cmd, &follow)
	p.flags(cmd)
	return cmd
}

func findNode(ctx context.Context, c *client.Client, nameOrID string) (api.Node, error) {
	if api.ValidID(nameOrID) {
		n, err := c.GetNode(ctx, nameOrID)
		return n, named(err, "node", nameOrID)
	}
	n, err := c.GetNodeByName(ctx, nameOrID)
	return n, named(err, "node", nameOrID)
}

func (a *app) nodeStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status <name|id>", Aliases: []string{"info"}, Short: "Show everything about a node", Example: "  stark node status node-1",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := findNode(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return printOne(a, nodeView(), n, func(w io.Writer) { describeNode(w, n) })
		},
	}
}

func describeNode(w io.Writer, n api.Node) {
	line(w, "name", n.Name)
	line(w, "id", n.ID)
	line(w, "status", nodeStatus(n))
	line(w, "runtime", strings.TrimSpace(string(n.RuntimeType)+" "+n.Capabilities.Version))
	line(w, "platform", strings.Trim(n.Capabilities.OS+"/"+n.Capabilities.Arch, "/"))
	line(w, "agent", n.Capabilities.Agent)
	line(w, "last change", at(n.LastHeartbeat))
	line(w, "serves", map[bool]string{true: "everybody", false: "its owner"}[n.Shared])
	line(w, "namespaces", strings.Join(n.Namespaces, ", "))
	fmt.Fprintf(w, "pods:\t%d of %d\n", n.Allocated.Pods, n.Allocatable.Pods)
	fmt.Fprintf(w, "cpu:\t%s of %s\n", n.Allocated.CPU, n.Allocatable.CPU)
	fmt.Fprintf(w, "memory:\t%s of %s\n", n.Allocated.Memory, n.Allocatable.Memory)
	line(w, "labels", pairs(n.Labels))
	for _, t := range n.Taints {
		line(w, "taint", t.String())
	}
	for _, c := range n.Conditions {
		line(w, "condition", strings.TrimSpace(fmt.Sprintf("%s=%t %s %s", c.Type, c.Status, c.Reason, c.Message)))
	}
	line(w, "registered by", n.RegisteredBy)
	line(w, "registered", at(&n.CreatedAt))
}

func (a *app) nodeDeleteCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "delete <name|id>", Aliases: []string{"rm"}, Short: "Delete a node", Example: "  stark node delete worker-1 --force",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := findNode(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if !force {
				if err := a.confirm(cmd.Context(), fmt.Sprintf("Delete node %s (%s)?", n.Name, n.Status)); err != nil {
					return err
				}
			}
			if err := c.DeleteNode(cmd.Context(), n.ID); err != nil {
				return err
			}
			return a.done(map[string]any{"deleted": n.ID}, "deleted node %s", n.Name)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	return cmd
}
