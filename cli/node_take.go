package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) nodeTakeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "take <name|id>", Short: "Answer for a node yourself, in place of whoever registered it",
		Long: `Answer for a node yourself, in place of whoever registered it, so that it stays when
they leave; it serves everybody from then on. Admins and operators may, and only with a
node that served everybody, or whose owner may not register nodes any more: a machine
that somebody lends to themselves alone is not for others to give away.`,
		Example: "  stark node take worker-1", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := findNode(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if n, err = c.TakeNode(cmd.Context(), n.ID); err != nil {
				return err
			}
			return printOne(a, nodeView(), n, func(w io.Writer) { fmt.Fprintf(w, "you answer for node %s\n", n.Name) })
		},
	}
}
