// Command stark runs, deploys to and looks at Stark clusters.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/stark-orchestrator/stark/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default takes over again: a second one kills.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}
