package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/client"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Show or set the user's settings",
		Example: "  stark config\n  stark config set defaultNamespace team-a\n  stark config set output yaml",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(*cobra.Command, []string) error { return a.showConfig() },
	}
	cmd.AddCommand(&cobra.Command{
		Use: "show", Short: "Show the settings", Example: "  stark config show -o json",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return a.showConfig() },
	}, &cobra.Command{
		Use: "set <name> [value]", Short: "Set a setting, or clear it when no value is given",
		Example: "  stark config set apiUrl https://stark.example.com\n  stark config set defaultNamespace",
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(_ *cobra.Command, args []string) error {
			value := ""
			if len(args) > 1 {
				value = args[1]
			}
			return a.setConfig(args[0], value)
		},
	})
	return cmd
}

func (a *app) showConfig() error {
	shown := a.settings
	shown.APIURL = a.apiURL()
	shown.Output = string(a.format())
	return printOne(a, view[settings]{kind: "config", id: func(settings) string { return string(a.home) }}, shown, func(w io.Writer) {
		line(w, "folder", string(a.home))
		line(w, "apiUrl", shown.APIURL)
		line(w, "defaultNamespace", orDefault(shown.DefaultNamespace, "default"))
		line(w, "output", shown.Output)
	})
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// setters checks and stores each setting.
var setters = map[string]func(s *settings, value string) error{
	"apiUrl": func(s *settings, v string) error {
		if v != "" {
			if _, err := client.New(client.Config{URL: v}); err != nil {
				return err
			}
		}
		s.APIURL = strings.TrimRight(v, "/")
		return nil
	},
	"defaultNamespace": func(s *settings, v string) error { s.DefaultNamespace = v; return nil },
	"output": func(s *settings, v string) error {
		_, err := parseFormat(v)
		s.Output = v
		return err
	},
}

func (a *app) setConfig(name, value string) error {
	set, ok := setters[name]
	if !ok {
		return usagef("no setting %q: there are %s", name, strings.Join(slices.Sorted(maps.Keys(setters)), ", "))
	}
	if err := set(&a.settings, value); err != nil {
		return err
	}
	if err := a.home.write(settingsFile, a.settings); err != nil {
		return err
	}
	if value == "" {
		return a.done(map[string]any{"name": name}, "%s is back to its default", name)
	}
	return a.done(map[string]any{"name": name, "value": value}, "%s", fmt.Sprintf("%s is %s", name, value))
}
