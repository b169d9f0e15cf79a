//go:build !linux || !amd64

// Command skewed cannot set its clock wrong on this platform.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "skewed: only on linux/amd64")
	os.Exit(1)
}
