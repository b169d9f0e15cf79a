//go:build js

// Command tab is the Go program of a browser tab that is a node. agent/browser/build
// makes it, with the page around it.
package main

import (
	"context"

	"github.com/stark-orchestrator/stark/agent/browser"
)

func main() { browser.Main(context.Background()) }
