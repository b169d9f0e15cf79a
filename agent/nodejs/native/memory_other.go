//go:build !linux

package native

import "github.com/stark-orchestrator/stark/shared/api"

// totalMemory is a careful guess where the platform has no cheap answer.
func totalMemory() api.Mebibytes { return 4 << 10 }
