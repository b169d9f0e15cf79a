package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func (a *app) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "user", Aliases: []string{"users"}, Short: "Manage accounts and their roles (admins only)",
		Example: "  stark user list\n  stark user role add dev@example.com operator\n  stark user disable dev@example.com",
	}
	cmd.AddCommand(
		a.listUsersCommand("list"), a.addUserCommand("create"), a.userRoleCommand(),
		a.userDisableCommand(true), a.userDisableCommand(false),
	)
	return cmd
}

func (a *app) userRoleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "role", Short: "Give and take roles",
		Example: "  stark user role add dev@example.com operator\n  stark user role remove dev@example.com operator",
	}
	cmd.AddCommand(a.roleAddCommand(), a.roleRemoveCommand())
	return cmd
}

func (a *app) roleAddCommand() *cobra.Command {
	return &cobra.Command{
		Use: "add <user> <role>...", Short: "Give an account roles; it keeps those that it has",
		Long:    "Give an account roles: admin, operator, developer or viewer. The account is named by its e-mail address or id.",
		Example: "  stark user role add dev@example.com operator developer", Args: usageArgs(cobra.MinimumNArgs(2)),
		ValidArgsFunction: completeRoles,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.GrantRolesRequest{}
			for _, name := range args[1:] {
				r.Roles = append(r.Roles, api.Role(name))
			}
			if err := r.Validate(); err != nil {
				return err
			}
			return a.changeUser(cmd.Context(), args[0], "", func(ctx context.Context, c *client.Client, id string) (api.User, error) {
				return c.GrantRoles(ctx, id, r.Roles)
			})
		},
	}
}

func (a *app) roleRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove <user> <role>", Aliases: []string{"rm"}, Short: "Take a role from an account, at once; the last admin keeps theirs",
		Example: "  stark user role remove dev@example.com operator", Args: usageArgs(cobra.ExactArgs(2)),
		ValidArgsFunction: completeRoles,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.GrantRolesRequest{Roles: []api.Role{api.Role(args[1])}}
			if err := r.Validate(); err != nil {
				return err
			}
			return a.changeUser(cmd.Context(), args[0], "", func(ctx context.Context, c *client.Client, id string) (api.User, error) {
				return c.RevokeRole(ctx, id, r.Roles[0])
			})
		},
	}
}

func (a *app) userDisableCommand(disabled bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: "enable <user>", Short: "Let a disabled account in again, with the roles that it had",
		Example: "  stark user enable dev@example.com", Args: usageArgs(cobra.ExactArgs(1)),
	}
	said := "enabled"
	if disabled {
		said = "disabled"
		cmd.Use, cmd.Short = "disable <user>", "Shut an account out at once, until it is enabled"
		cmd.Long = `Shut an account out at once: it has no roles, cannot sign in, and its join tokens
are gone. Its pods and nodes stay as they are. The last admin cannot be disabled.`
		cmd.Example = "  stark user disable dev@example.com"
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.changeUser(cmd.Context(), args[0], said, func(ctx context.Context, c *client.Client, id string) (api.User, error) {
			return c.SetUserDisabled(ctx, id, disabled)
		})
	}
	return cmd
}

// changeUser does something to the account that an argument names, and shows it.
func (a *app) changeUser(ctx context.Context, arg, said string, change func(context.Context, *client.Client, string) (api.User, error)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	id, err := userID(ctx, c, arg)
	if err != nil {
		return err
	}
	u, err := change(ctx, c, id)
	if err != nil {
		return named(err, "user", arg)
	}
	return printOne(a, userView(), u, func(w io.Writer) {
		if said != "" {
			fmt.Fprintf(w, "%s %s\n", said, u.Email)
			return
		}
		fmt.Fprintf(w, "%s has now: %s\n", u.Email, orDefault(roles(u), "no roles"))
	})
}

// userID gives the id that an argument means: an id, or an e-mail address.
func userID(ctx context.Context, c *client.Client, arg string) (string, error) {
	text := strings.ToLower(strings.TrimPrefix(arg, userView().kind+"/"))
	if api.ValidID(text) {
		return text, nil
	}
	if !strings.Contains(text, "@") {
		return "", withHint(fault.New(fault.Validation, "user %q: want an e-mail address or an id", arg), "`stark user list` shows them")
	}
	const page = 100
	for offset := 0; ; offset += page {
		users, total, err := c.ListUsers(ctx, api.UserQuery{Search: text, Limit: page, Offset: offset})
		if err != nil {
			return "", err
		}
		for _, u := range users {
			if strings.EqualFold(u.Email, text) {
				return u.ID, nil
			}
		}
		if len(users) == 0 || offset+len(users) >= total {
			return "", absent("user", arg)
		}
	}
}

func completeRoles(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, len(api.UserRoles))
	for i, r := range api.UserRoles {
		names[i] = string(r)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
