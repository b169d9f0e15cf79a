// Command stark-server runs the control plane as its environment says. It is what
// `stark server start` runs, for images that need nothing else.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/stark-orchestrator/stark/server"
	"github.com/stark-orchestrator/stark/shared/logging"
)

// version is that of the program; the linker sets it.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default takes over again: a second one kills.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "stark-server:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, or says which program this is.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if len(args) == 1 && args[0] == "--version" {
		_, err := fmt.Fprintln(stdout, "stark-server", version)
		return err
	}
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q: the environment configures the server", args[0])
	}
	cfg, err := server.LoadConfig(getenv)
	if err != nil {
		return err
	}
	cfg.Version = version
	s, err := server.New(cfg, logging.New(stderr, cfg.LogLevel, "server"))
	if err != nil {
		return err
	}
	return s.RunAlone(ctx)
}
