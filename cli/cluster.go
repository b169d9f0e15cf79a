package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/shared/api"
)

func (a *app) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cluster", Short: "Look after the whole cluster", Example: "  stark cluster config get\n  stark cluster config set heartbeatTimeoutMs=45s",
	}
	config := &cobra.Command{
		Use: "config", Short: "Settings of the cluster (admins and operators)", Example: "  stark cluster config get\n  stark cluster config set maxTotalPods=20000",
	}
	config.AddCommand(a.configGetCommand(), a.configSetCommand())
	cmd.AddCommand(config)
	return cmd
}

func configView() view[api.ClusterConfig] {
	return view[api.ClusterConfig]{kind: "clusterconfig", id: func(g api.ClusterConfig) string { return g.Name }}
}

// setting is one setting as it is typed.
type setting struct{ name, value string }

// settingsOf lists the settings in the order of the API, with the parts of objects as
// name.part. Times are shown as people read them.
func settingsOf(g api.ClusterConfig) []setting {
	var out []setting
	add := func(prefix string, v reflect.Value) {
		for field, value := range v.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			for value.Kind() == reflect.Pointer && !value.IsNil() {
				value = value.Elem()
			}
			text := fmt.Sprint(value.Interface())
			switch {
			case value.Kind() == reflect.Pointer:
				text = "" // the default
			case strings.HasSuffix(name, "Ms") && value.CanInt():
				text = (time.Duration(value.Int()) * time.Millisecond).String()
			}
			out = append(out, setting{prefix + name, text})
		}
	}
	for field, value := range reflect.ValueOf(g).Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "name" || name == "resourceVersion":
		case value.Kind() == reflect.Struct:
			add(name+".", value)
		case strings.HasSuffix(name, "Ms"):
			out = append(out, setting{name, (time.Duration(value.Int()) * time.Millisecond).String()})
		default:
			out = append(out, setting{name, fmt.Sprint(value.Interface())})
		}
	}
	return out
}

func (a *app) configGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get [setting]", Short: "Show the settings, or one of them", Example: "  stark cluster config get\n  stark cluster config get maxTotalPods",
		Args: usageArgs(cobra.MaximumNArgs(1)), ValidArgsFunction: completeSettings(""),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			g, err := c.ClusterConfig(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.showClusterConfig(g)
			}
			for _, s := range settingsOf(g) {
				if s.name == args[0] {
					return a.done(map[string]any{s.name: s.value}, "%s", s.value)
				}
			}
			return unknownSetting(args[0])
		},
	}
}

func (a *app) showClusterConfig(g api.ClusterConfig) error {
	return printOne(a, configView(), g, func(w io.Writer) {
		for _, s := range settingsOf(g) {
			fmt.Fprintf(w, "%s\t%s\n", s.name, orDefault(clean(s.value), "-"))
		}
	})
}

func settingNames() []string {
	var names []string
	for _, s := range settingsOf(api.ClusterConfig{}) {
		names = append(names, s.name)
	}
	return names
}

func unknownSetting(name string) error {
	if near := manifest.Nearest(name, settingNames()); near != "" {
		return usagef("there is no setting %q: did you mean %s?", name, near)
	}
	return usagef("there is no setting %q: want one of %s", name, strings.Join(settingNames(), ", "))
}

func completeSettings(after string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var out []cobra.Completion
		for _, name := range settingNames() {
			if strings.HasPrefix(name, begun) && !slices.Contains(args, name) {
				out = append(out, name+after)
			}
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if after != "" {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return out, directive
	}
}

func (a *app) configSetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "set <setting=value>...", Short: "Change settings, on every server at once",
		Long: `Change settings of the cluster; they hold on every server at once. Times are given as
durations or as milliseconds, CPU and memory as quantities. Several settings on one line
are changed together or not at all.`,
		Example: "  stark cluster config set heartbeatTimeoutMs=45s evictionTimeoutMs=2m\n  stark cluster config set defaultResourceRequests.cpu=50m schedulingPolicy=binpack",
		Args:    usageArgs(cobra.MinimumNArgs(1)), ValidArgsFunction: completeSettings("="),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			g, err := c.ClusterConfig(cmd.Context())
			if err != nil {
				return err
			}
			r, err := configChange(g, args)
			if err != nil {
				return err
			}
			if g, err = c.UpdateClusterConfig(cmd.Context(), r); err != nil {
				return err
			}
			return a.showClusterConfig(g)
		},
	}
}

// configChange makes a request of name=value arguments. Of an object only the named
// part changes.
func configChange(g api.ClusterConfig, args []string) (api.UpdateClusterConfigRequest, error) {
	var r api.UpdateClusterConfigRequest
	have, err := asMap(g)
	if err != nil {
		return r, err
	}
	want := map[string]any{"resourceVersion": g.ResourceVersion}
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return r, usagef("%q: want setting=value", arg)
		}
		if !slices.Contains(settingNames(), name) {
			return r, unknownSetting(name)
		}
		object, part, nested := strings.Cut(name, ".")
		if !nested {
			want[name] = settingValue(name, text)
			continue
		}
		parts, _ := want[object].(map[string]any)
		if parts == nil {
			parts, _ = have[object].(map[string]any)
		}
		if parts == nil {
			parts = map[string]any{}
		}
		if text == "" {
			delete(parts, part)
		} else {
			parts[part] = settingValue(part, text)
		}
		want[object] = parts
	}
	data, err := json.Marshal(want)
	if err != nil {
		return r, err
	}
	if err := api.Decode(data, &r); err != nil {
		return r, err
	}
	after := r.Apply(g)
	return r, after.Validate()
}

func asMap(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(data, &out)
}

// settingValue reads a value as JSON would have it: a time in milliseconds, a number, a
// truth value, or a text.
func settingValue(name, text string) any {
	if strings.HasSuffix(name, "Ms") {
		if d, err := time.ParseDuration(text); err == nil {
			return d.Milliseconds()
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && name != "cpu" {
		return n
	}
	if b, err := strconv.ParseBool(text); err == nil {
		return b
	}
	return text
}
