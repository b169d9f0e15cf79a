package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

func (a *app) authCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "auth", Short: "Sign in, and manage accounts",
		Example: "  stark auth login --email me@example.com\n  stark auth whoami",
	}
	cmd.AddCommand(
		a.setupCommand(), a.loginCommand(), a.logoutCommand(), a.whoamiCommand(), a.authStatusCommand(),
		a.registerCommand(), a.addUserCommand("add-user"), a.listUsersCommand("list-users"),
	)
	return cmd
}

// identity is the flags by which one says who one is.
type identity struct {
	email         string
	name          string
	passwordStdin bool
	codeStdin     bool
}

func (a *app) loginCommand() *cobra.Command {
	var id identity
	cmd := &cobra.Command{
		Use: "login", Short: "Sign in",
		Long:    "Sign in. The password is asked for, read from stdin, or taken from STARK_PASSWORD.",
		Example: "  stark auth login --email me@example.com\n  pass show stark | stark auth login --email me@example.com --password-stdin",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.signIn(cmd.Context(), id)
		},
	}
	id.flags(cmd)
	return cmd
}

func (id *identity) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&id.email, "email", "e", "", "e-mail address (env STARK_EMAIL)")
	cmd.Flags().BoolVar(&id.passwordStdin, "password-stdin", false, "read the password from stdin (else env STARK_PASSWORD, or a prompt)")
}

func (a *app) credentialsOf(ctx context.Context, id identity, repeat bool) (email, password string, err error) {
	if email = orDefault(id.email, a.getenv("STARK_EMAIL")); email == "" {
		if email, err = a.ask(ctx, "E-mail", "--email"); err != nil {
			return "", "", err
		}
	}
	password, err = a.secret(ctx, secret{
		question: "Password", env: "STARK_PASSWORD", stdin: id.passwordStdin, flag: "password-stdin", repeat: repeat,
	})
	return email, password, err
}

func (a *app) signIn(ctx context.Context, id identity) error {
	c, err := a.anonymous()
	if err != nil {
		return err
	}
	email, password, err := a.credentialsOf(ctx, id, false)
	if err != nil {
		return err
	}
	s, err := c.Login(ctx, api.LoginRequest{Email: email, Password: password})
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	return a.keep(ctx, s)
}

// keep stores a session and says so.
func (a *app) keep(ctx context.Context, s api.Session) error {
	if err := a.home.credentials().put(ctx, a.apiURL(), s); err != nil {
		return err
	}
	return printOne(a, userView(), s.User, func(w io.Writer) {
		fmt.Fprintf(w, "signed in at %s as %s (%s)\n", a.apiURL(), s.User.Email, roles(s.User))
	})
}

func (a *app) setupCommand() *cobra.Command {
	var id identity
	cmd := &cobra.Command{
		Use: "setup", Short: "Make the first admin of a new cluster, once",
		Long: `Make the first admin of a new cluster, and sign in. It works once.

From another machine than the server's it takes the setup code that the server
has printed at its start: it is asked for, read from stdin (after the password, if
both are), or taken from STARK_SETUP_CODE.`,
		Example: "  stark auth setup --email admin@example.com --name Admin",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.setup(cmd.Context(), id) },
	}
	id.flags(cmd)
	cmd.Flags().StringVar(&id.name, "name", "", "display name")
	cmd.Flags().BoolVar(&id.codeStdin, "setup-code-stdin", false, "read the setup code from stdin (else env STARK_SETUP_CODE, or a prompt)")
	return cmd
}

func (a *app) setup(ctx context.Context, id identity) error {
	c, err := a.anonymous()
	if err != nil {
		return err
	}
	status, err := c.SetupStatus(ctx)
	if err != nil {
		return err
	}
	if !status.NeedsSetup {
		return withHint(fmt.Errorf("%s has an admin already", a.apiURL()), "sign in with `stark auth login`")
	}
	email, password, err := a.credentialsOf(ctx, id, true)
	if err != nil {
		return err
	}
	r := api.RegisterRequest{Email: email, Password: password, DisplayName: id.name}
	if status.CodeRequired {
		if r.SetupCode, err = a.secret(ctx, secret{
			question: "Setup code (printed by the server)", env: "STARK_SETUP_CODE", stdin: id.codeStdin, flag: "setup-code-stdin",
		}); err != nil {
			return err
		}
	}
	s, err := c.Setup(ctx, r)
	if err != nil {
		return err
	}
	return a.keep(ctx, s)
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Sign out and forget the session", Example: "  stark auth logout",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.signOut(cmd.Context())
		},
	}
}

func (a *app) signOut(ctx context.Context) error {
	store := a.home.credentials()
	_, ok, err := store.get(a.apiURL())
	if err != nil {
		return err
	}
	if !ok {
		return a.done(map[string]any{"signedIn": false, "apiUrl": a.apiURL()}, "you were not signed in at %s", a.apiURL())
	}
	c, err := client.New(client.Config{URL: a.apiURL(), Token: &session{store: store, url: a.apiURL()}, UserAgent: userAgent()})
	if err != nil {
		return err
	}
	// The session is forgotten here also when the server cannot be told.
	told := c.Logout(ctx)
	if err := store.remove(ctx, a.apiURL()); err != nil {
		return err
	}
	if told != nil && exitCode(told) != exitNotAllowed {
		fmt.Fprintf(a.stderr, "warning: the server was not told: %s\n", message(told))
	}
	return a.done(map[string]any{"signedIn": false, "apiUrl": a.apiURL()}, "signed out of %s", a.apiURL())
}

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show who you are to the server, with your roles", Example: "  stark auth whoami -o json",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			u, err := c.Whoami(cmd.Context())
			if err != nil {
				return err
			}
			return printOne(a, userView(), u, func(w io.Writer) {
				line(w, "e-mail", u.Email)
				line(w, "name", u.DisplayName)
				line(w, "roles", roles(u))
				line(w, "id", u.ID)
				line(w, "server", a.apiURL())
			})
		},
	}
}

// authState is what this machine knows about a login, without asking the server.
type authState struct {
	APIURL    string    `json:"apiUrl"`
	SignedIn  bool      `json:"signedIn"`
	Email     string    `json:"email,omitempty"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // of the access token, which renews itself
	Source    string    `json:"source,omitempty"`
}

func (a *app) authStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the sign-in that this machine keeps, without asking the server",
		Example: "  stark auth status", Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			l, ok, err := a.home.credentials().get(a.apiURL())
			if err != nil {
				return err
			}
			s := authState{APIURL: a.apiURL(), SignedIn: ok, Email: l.Email, ExpiresAt: l.ExpiresAt}
			if ok {
				s.Source = a.home.path(credentialsFile)
			}
			if a.getenv("STARK_TOKEN") != "" {
				s = authState{APIURL: a.apiURL(), SignedIn: true, Source: "STARK_TOKEN"}
			}
			if err := printOne(a, view[authState]{kind: "login", id: func(s authState) string { return s.APIURL }}, s, func(w io.Writer) {
				line(w, "server", s.APIURL)
				line(w, "signed in", map[bool]string{true: "yes", false: "no"}[s.SignedIn])
				line(w, "as", s.Email)
				line(w, "from", s.Source)
			}); err != nil {
				return err
			}
			if !s.SignedIn {
				return silent(exitNotAllowed)
			}
			return nil
		},
	}
}
