package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// allCommands gives every command that users see.
func allCommands(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			out = append(out, allCommands(c)...)
		}
	}
	return out
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	root := (&app{getenv: func(string) string { return "" }, stdin: newInput(strings.NewReader(""))}).root()
	commands := allCommands(root)
	if len(commands) < 35 {
		t.Fatalf("only %d commands are found", len(commands))
	}
	for _, c := range commands {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no Short or no Example", c.CommandPath())
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		got := run(t, map[string]string{"STARK_HOME": t.TempDir()}, "", args...)
		if got.code != 0 || !strings.Contains(got.stdout, "Usage:") || got.stderr != "" {
			t.Errorf("%s --help: code %d, stdout %q, stderr %q", c.CommandPath(), got.code, got.stdout, got.stderr)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	env := map[string]string{"STARK_HOME": t.TempDir()}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := run(t, env, "", "completion", shell); got.code != 0 || !strings.Contains(got.stdout, "stark") {
			t.Errorf("completion %s: code %d, %s", shell, got.code, got.stderr)
		}
	}
	if got := run(t, env, "", "__complete", "pod", "st"); !strings.Contains(got.stdout, "stop") || !strings.Contains(got.stdout, "status") {
		t.Errorf("completion of pod st gives %q", got.stdout)
	}
}

func TestNoHomeIsNamed(t *testing.T) {
	t.Parallel()
	if got := run(t, nil, "", "config"); got.code != 1 || !strings.Contains(got.stderr, "STARK_HOME") {
		t.Errorf("without a home: code %d, stderr %q", got.code, got.stderr)
	}
	if got := run(t, map[string]string{"HOME": t.TempDir()}, "", "config"); got.code != 0 || !strings.Contains(got.stdout, ".stark") {
		t.Errorf("with HOME: code %d, stdout %q", got.code, got.stdout)
	}
}
