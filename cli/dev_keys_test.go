package cli

import (
	"context"
	"strings"
	"testing"
)

func TestKeysOfATerminal(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	quit := 0
	d := &dev{out: &devOutput{stdout: &out, stderr: &out}, quit: func() { quit++ }}
	d.source.Name = "greeter"
	d.out.raw.Store(true)
	keys := make(chan devKey, 1)
	d.readKeys(t.Context(), strings.NewReader("hxrpplq"), keys)
	if got := <-keys; got != keyRestart || len(keys) != 0 {
		t.Errorf("got %c and %d more, want r alone: what comes while it waits is dropped", got, len(keys))
	}
	if quit != 1 {
		t.Errorf("q was heard %d times", quit)
	}
	text := out.String()
	if !strings.Contains(text, "r  roll out again") || !strings.Contains(text, "\x1b[H  greeter") || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") {
		t.Errorf("got %q, want the help, a clear screen, and each line from the first column", text)
	}
	for _, end := range []string{"\x03", "\x04"} {
		d.readKeys(t.Context(), strings.NewReader(end+"q"), keys)
	}
	if quit != 3 {
		t.Errorf("Ctrl-C and Ctrl-D ended it %d times, want 2", quit-1)
	}
}

// TestNoKeysInAPipe leaves what is no terminal alone.
func TestNoKeysInAPipe(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	d := &dev{app: &app{stdin: newInput(strings.NewReader("q"))}, out: &devOutput{stdout: &out}, quit: func() { t.Error("a pipe has ended it") }}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	keys, end := d.startKeys(ctx)
	end()
	if keys != nil || out.String() != "" || d.out.raw.Load() {
		t.Errorf("got keys, or %q", out.String())
	}
}
