// Package cli is the command line `stark`. It owns what users type and read:
// flags, tables, prompts, exit codes, and the files in the user's folder. It
// decides nothing about the cluster: it asks the server, and package local starts
// what `stark dev` runs.
package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/client"
)

// Version is that of the program; the linker sets it.
var Version = "dev"

// DefaultAPIURL is where the server is looked for unless told otherwise.
const DefaultAPIURL = "http://127.0.0.1:8480"

// app is what all commands share.
type app struct {
	getenv func(string) string
	stdin  *input
	stdout io.Writer
	stderr io.Writer

	passwordCost int // of the accounts of `stark dev`, as local.Options has it

	home     home
	settings settings

	// Flags of the root.
	flagAPIURL  string
	flagOutput  string
	flagNoColor bool
}

// Run runs one command and gives the exit code of the process.
func Run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	return (&app{getenv: getenv, stdin: newInput(stdin), stdout: stdout, stderr: stderr}).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root() //nolint:contextcheck // cobra hands ctx to each command
	root.SetArgs(args)
	root.SetIn(a.stdin.source)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return a.fail(ctx, cmd, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "stark",
		Short: "Run JavaScript packs on Node.js nodes, on a Supabase control plane",
		Long: `stark runs JavaScript packs on Node.js nodes, with Kubernetes-like scheduling,
on a Supabase control plane.

Try it: "stark dev" starts everything on this machine.`,
		Example: `  stark dev
  stark pack init greeter
  stark pod create greeter --wait`,
		Version:           Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
	}
	root.SetVersionTemplate("stark {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVar(&a.flagAPIURL, "api-url", "", "address of the server (env STARK_API_URL, default "+DefaultAPIURL+")")
	f.StringVarP(&a.flagOutput, "output", "o", "", "output format: table, json, yaml or name")
	f.BoolVar(&a.flagNoColor, "no-color", false, "no colours (env NO_COLOR)")
	root.AddCommand(
		a.explainCommand(),
		a.simCommand(),
		a.devCommand(), a.serverCommand(), a.authCommand(), a.userCommand(), a.packCommand(), a.nodeCommand(), a.podCommand(),
		a.namespaceCommand(), a.priorityClassCommand(), a.clusterCommand(),
		a.applyCommand(), a.diffCommand(), a.deleteCommand(), a.waitCommand(), a.eventsCommand(), a.statusCommand(), a.doctorCommand(), a.configCommand(), a.versionCommand(),
	)
	cobra.CheckErr(root.RegisterFlagCompletionFunc("output", completeOutput))
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			strictHelp(c)
		}
	}
	// The usage line of a group says <command> already.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .HasAvailableSubCommands}}\n  {{.CommandPath}} [command]{{end}}", "", 1))
	return withGroups(root)
}

// strictHelp makes `help` refuse what is no command; cobra would show the root's.
func strictHelp(help *cobra.Command) {
	help.Example = "  stark help pod create"
	help.RunE = func(cmd *cobra.Command, args []string) error {
		found, rest, err := cmd.Root().Find(args)
		if err != nil || len(rest) > 0 {
			return usagef("unknown command %q", strings.Join(args, " "))
		}
		found.InitDefaultHelpFlag()
		return found.Help()
	}
}

// elsewhere is where the verbs of kubectl and pm2 are found, which come before the noun there.
var elsewhere = map[string]string{
	"get": "stark pod list, stark node list or stark namespace list", "describe": "stark pod describe or stark node describe",
	"logs": "stark pod logs", "run": "stark pod create", "create": "stark pod create or stark apply -f", "start": "stark pod create or stark server start",
	"stop": "stark pod stop", "ps": "stark pod list", "list": "stark pod list", "ls": "stark pod list", "rollout": "stark pod rollback or stark pod history",
	"cordon": "stark node cordon", "uncordon": "stark node uncordon", "drain": "stark node drain", "taint": "stark node taint",
	"label": "stark node label", "top": "stark pod top or stark node top",
}

// withGroups makes commands that only hold others list these when called alone,
// and refuse what they do not know; cobra would print the help and succeed.
func withGroups(cmd *cobra.Command) *cobra.Command {
	for _, c := range cmd.Commands() {
		withGroups(c)
	}
	if cmd.Runnable() || !cmd.HasSubCommands() {
		return cmd
	}
	cmd.Use += " <command>"
	cmd.DisableFlagsInUseLine = true
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		if there, ok := elsewhere[args[0]]; ok && !cmd.HasParent() {
			return usagef("unknown command %q for %q: did you mean %s?", args[0], cmd.CommandPath(), there)
		}
		err := usagef("unknown command %q for %q", args[0], cmd.CommandPath())
		// Any two words of three letters are near each other.
		cmd.SuggestionsMinimumDistance = min(max(1, len(args[0])-2), 2)
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = usagef("unknown command %q for %q: did you mean %s?", args[0], cmd.CommandPath(), strings.Join(near, " or "))
		}
		return err
	}
	return cmd
}

// prepare reads the user's settings and checks the global flags.
func (a *app) prepare(*cobra.Command) error {
	var err error
	if a.home, err = findHome(a.getenv); err != nil {
		return err
	}
	if a.settings, err = a.home.loadSettings(); err != nil {
		return err
	}
	_, err = parseFormat(a.flagOutput, a.settings.Output)
	return err
}

// apiURL gives the server's address: flag, environment, settings, default.
func (a *app) apiURL() string {
	for _, v := range []string{a.flagAPIURL, a.getenv("STARK_API_URL"), a.settings.APIURL} {
		if v != "" {
			return strings.TrimRight(v, "/")
		}
	}
	return DefaultAPIURL
}

// client gives a client that is signed in as the user.
func (a *app) client() (*client.Client, error) {
	url := a.apiURL()
	var token client.TokenSource = &session{store: a.home.credentials(), url: url}
	if v := a.getenv("STARK_TOKEN"); v != "" {
		token = client.StaticToken(v)
	}
	return client.New(client.Config{URL: url, Token: token, UserAgent: userAgent()})
}

// anonymous gives a client without a user.
func (a *app) anonymous() (*client.Client, error) {
	return client.New(client.Config{URL: a.apiURL(), UserAgent: userAgent()})
}

func userAgent() string { return "stark-cli/" + Version }

// namespace gives the flag's value, or the user's default.
func (a *app) namespace(flag string) string {
	if flag != "" {
		return flag
	}
	return a.settings.DefaultNamespace
}
