//go:build !unix

package nodejs

import (
	"context"
	"fmt"
	"runtime"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Supported tells why packs cannot be run on this platform: hosts are process groups
// with inherited sockets, which it does not have.
func Supported() error {
	return fmt.Errorf("packs run on Linux and macOS, not on %s", runtime.GOOS)
}

// Executor stands in where packs cannot be run; there is none.
type Executor struct{}

// New fails.
func New(context.Context, Options) (*Executor, error) { return nil, Supported() }

// Controller implements executor.Executor.
func (*Executor) Controller(executor.Task) (executor.Controller, error) { return nil, Supported() }

// Capabilities implements executor.Executor.
func (*Executor) Capabilities() api.Capabilities { return api.Capabilities{} }

// Warm fails.
func (*Executor) Warm(context.Context, int) error { return Supported() }

// Close has nothing to do.
func (*Executor) Close(context.Context) error { return nil }

// Conditions are not known.
func (*Executor) Conditions() []api.NodeCondition { return nil }
