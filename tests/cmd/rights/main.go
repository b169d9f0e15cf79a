// Command rights prints docs/rights.md.
package main

import (
	"fmt"
	"os"

	"github.com/stark-orchestrator/stark/core/access"
)

func main() {
	if _, err := fmt.Fprint(os.Stdout, access.Markdown()); err != nil {
		os.Exit(1)
	}
}
