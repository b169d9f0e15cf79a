// Command panics grows stacks, collects garbage and then panics.
package main

import "github.com/stark-orchestrator/stark/agent/browser/build/testdata/panics/deep"

func main() { deep.Run() }
