package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func (a *app) registerCommand() *cobra.Command {
	var id identity
	cmd := &cobra.Command{
		Use: "register", Short: "Make an account for yourself, where registration is open",
		Long: `Make an account for yourself and sign in. It works where an admin has opened
registration (STARK_OPEN_REGISTRATION of the server); elsewhere ask an admin for
an account. The password is asked for, read from stdin, or taken from STARK_PASSWORD.`,
		Example: "  stark auth register --email me@example.com --name Me",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.signUp(cmd.Context(), id) },
	}
	id.flags(cmd)
	cmd.Flags().StringVar(&id.name, "name", "", "display name")
	return cmd
}

func (a *app) signUp(ctx context.Context, id identity) error {
	c, err := a.anonymous()
	if err != nil {
		return err
	}
	email, password, err := a.credentialsOf(ctx, id, true)
	if err != nil {
		return err
	}
	s, err := c.Register(ctx, api.RegisterRequest{Email: email, Password: password, DisplayName: id.name})
	switch {
	case fault.CodeOf(err) == fault.Forbidden:
		return withHint(fmt.Errorf("register: %w", err), "an admin makes accounts with `stark user create`; the very first is made with `stark auth setup`")
	case err != nil:
		return fmt.Errorf("register: %w", err)
	case s.AccessToken == "":
		return a.done(map[string]any{"userId": s.User.ID, "confirmed": false},
			"the account is made; confirm the e-mail address by the mail that was sent, then sign in with `stark auth login`")
	}
	return a.keep(ctx, s)
}
