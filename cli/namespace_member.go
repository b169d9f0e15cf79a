package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
)

func (a *app) namespaceMembersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "members", Aliases: []string{"member"}, Short: "Say who is a member of a namespace",
		Long: `Say who is a member of a namespace. A namespace with members is theirs alone; one
without is open to everybody who may make pods. Roles: viewer sees all pods there,
developer also makes some, operator and admin answer for those of others, and admin
says who the members are.`,
		Example: "  stark namespace members list team-a\n  stark namespace members add team-a dev@example.com --role operator",
	}
	cmd.AddCommand(a.completes(a.memberListCommand(), false, namespaceNames), a.completes(a.memberAddCommand(), false, namespaceNames),
		a.completes(a.memberRemoveCommand(), false, namespaceNames))
	return cmd
}

func memberView() view[api.NamespaceMember] {
	return view[api.NamespaceMember]{
		kind: "member", id: func(m api.NamespaceMember) string { return m.UserID }, empty: "no members that you see: the namespace is open, or not yours",
		columns: []column[api.NamespaceMember]{
			{"USER", func(m api.NamespaceMember) string { return m.UserID }},
			{"ROLE", func(m api.NamespaceMember) string { return string(m.Role) }},
			{"NAMESPACE", func(m api.NamespaceMember) string { return m.Namespace }},
		},
	}
}

func (a *app) memberListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list <namespace>", Aliases: []string{"ls"}, Short: "List the members of a namespace",
		Example: "  stark namespace members list team-a", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			members, err := c.ListMembers(cmd.Context(), args[0])
			if err != nil {
				return named(err, "namespace", args[0])
			}
			return printList(a, memberView(), members)
		},
	}
}

func (a *app) memberAddCommand() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use: "add <namespace> <user>", Aliases: []string{"set"}, Short: "Make a user a member, or change their role there",
		Long:    "Make a user a member of a namespace, or change their role there. Only admins and operators can find users by e-mail address; others give the id.",
		Example: "  stark namespace members add team-a dev@example.com --role admin", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.SetMemberRequest{Role: api.Role(role)}
			if err := r.Validate(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			id, err := userID(cmd.Context(), c, args[1])
			if err != nil {
				return err
			}
			m, err := c.SetMember(cmd.Context(), args[0], id, r.Role)
			if err != nil {
				return err
			}
			return printOne(a, memberView(), m, func(w io.Writer) { fmt.Fprintf(w, "%s is %s of namespace %s\n", args[1], m.Role, m.Namespace) })
		},
	}
	cmd.Flags().StringVar(&role, "role", string(api.RoleDeveloper), "admin, operator, developer or viewer")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"admin", "operator", "developer", "viewer"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (a *app) memberRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove <namespace> <user>", Aliases: []string{"rm"}, Short: "End a membership",
		Example: "  stark namespace members remove team-a dev@example.com", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			id, err := userID(cmd.Context(), c, args[1])
			if err != nil {
				return err
			}
			if err := c.RemoveMember(cmd.Context(), args[0], id); err != nil {
				return err
			}
			return a.done(map[string]any{"removed": id, "namespace": args[0]}, "%s is no member of namespace %s any more", args[1], args[0])
		},
	}
}
