package native

import (
	"syscall"

	"github.com/stark-orchestrator/stark/shared/api"
)

func totalMemory() api.Mebibytes {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	return api.Mebibytes(uint64(info.Totalram) * uint64(info.Unit) >> 20)
}
