package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

func (a *app) nodeCredentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "credential", Aliases: []string{"credentials"}, Short: "Replace or end the credential of a node",
		Example: "  stark node credential rotate worker-1\n  stark node credential revoke worker-1 --force",
	}
	cmd.AddCommand(a.completes(a.credentialRotateCommand(), false, nodeNames), a.completes(a.credentialRevokeCommand(), false, nodeNames))
	return cmd
}

func (a *app) credentialRotateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rotate <name|id>", Short: "Give a node a new credential; its pods go on",
		Long: `Give a node a new credential. Its agent gets it by connecting again, which it does
at once, or as soon as it is back; until it has it, the old one stays good. Pods go on.

Where the old one may be in wrong hands, use revoke: it ends at once.`,
		Example: "  stark node credential rotate worker-1", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeCredential(cmd.Context(), args[0], false, func(c *client.Client, n api.Node) error {
				if err := c.RotateNodeCredential(cmd.Context(), n.ID); err != nil {
					return err
				}
				return a.done(map[string]any{"rotated": n.ID}, "node %s gets a new credential", n.Name)
			})
		},
	}
}

func (a *app) credentialRevokeCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "revoke <name|id>", Short: "End the credential of a node and its connection, at once",
		Long: `End the credential of a node, and its connection with it. The agent keeps its pods
running and tries to come back; it can when it is started again with a new join token
or by its owner. Without that, its pods move to other nodes when its lease runs out.`,
		Example: "  stark node credential revoke worker-1 --force", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeCredential(cmd.Context(), args[0], !force, func(c *client.Client, n api.Node) error {
				if err := c.RevokeNodeCredential(cmd.Context(), n.ID); err != nil {
					return err
				}
				return a.done(map[string]any{"revoked": n.ID}, "revoked the credential of node %s", n.Name)
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	return cmd
}

func (a *app) changeCredential(ctx context.Context, node string, ask bool, change func(*client.Client, api.Node) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	n, err := findNode(ctx, c, node)
	if err != nil {
		return err
	}
	if ask {
		if err := a.confirm(ctx, fmt.Sprintf("Revoke the credential of node %s (%s)?", n.Name, n.Status)); err != nil {
			return err
		}
	}
	return change(c, n)
}
