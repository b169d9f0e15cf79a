package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
)

func userView() view[api.User] {
	return view[api.User]{
		kind: "user", id: func(u api.User) string { return u.ID }, empty: "no users",
		columns: []column[api.User]{
			{"ID", func(u api.User) string { return u.ID }},
			{"E-MAIL", func(u api.User) string { return u.Email }},
			{"NAME", func(u api.User) string { return u.DisplayName }},
			{"ROLES", roles},
			{"STATE", func(u api.User) string {
				if u.DisabledAt != nil {
					return "disabled " + age(*u.DisabledAt)
				}
				return "enabled"
			}},
			{"AGE", func(u api.User) string { return age(u.CreatedAt) }},
		},
	}
}

func roles(u api.User) string {
	names := make([]string, len(u.Roles))
	for i, r := range u.Roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// addUserCommand makes accounts; auth add-user and user create are the same.
func (a *app) addUserCommand(name string) *cobra.Command {
	var id identity
	var given []string
	cmd := &cobra.Command{
		Use: name, Short: "Make an account (admins only)",
		Long:    "Make an account. Its password is asked for, read from stdin, or taken from STARK_PASSWORD.",
		Example: "  stark user create --email dev@example.com --role developer\n  stark user create -e ops@example.com -r operator --password-stdin < password.txt",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r := api.CreateUserRequest{DisplayName: id.name}
			for _, role := range given {
				r.Roles = append(r.Roles, api.Role(role))
			}
			if r.Email = id.email; r.Email == "" {
				if r.Email, err = a.ask(cmd.Context(), "E-mail of the new account", "--email"); err != nil {
					return err
				}
			}
			r.Password, err = a.secret(cmd.Context(), secret{
				question: "Password of the new account", env: "STARK_PASSWORD", stdin: id.passwordStdin, flag: "password-stdin", repeat: true,
			})
			if err != nil {
				return err
			}
			u, err := c.CreateUser(cmd.Context(), r)
			if err != nil {
				return err
			}
			return printOne(a, userView(), u, func(w io.Writer) {
				fmt.Fprintf(w, "made %s (%s)\n", u.Email, roles(u))
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&id.email, "email", "e", "", "e-mail address of the account")
	f.StringVar(&id.name, "name", "", "display name")
	f.StringSliceVarP(&given, "role", "r", nil, "role: admin, operator, developer or viewer (repeatable; default viewer)")
	f.BoolVar(&id.passwordStdin, "password-stdin", false, "read the password from stdin")
	return cmd
}

// listUsersCommand lists accounts; auth list-users and user list are the same.
func (a *app) listUsersCommand(name string) *cobra.Command {
	var q api.UserQuery
	var role string
	cmd := &cobra.Command{
		Use: name, Short: "List accounts (admins and operators only)", Example: "  stark user list --role admin",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q.Role = api.Role(role)
			users, total, err := c.ListUsers(cmd.Context(), q)
			if err != nil {
				return err
			}
			if err := printList(a, userView(), users); err != nil {
				return err
			}
			a.more(len(users), q.Offset, total, "--offset")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&role, "role", "r", "", "only accounts with this role")
	f.StringVarP(&q.Search, "search", "s", "", "part of the e-mail address or name")
	f.IntVar(&q.Limit, "limit", 0, "at most so many")
	f.IntVar(&q.Offset, "offset", 0, "leave out so many")
	return cmd
}
