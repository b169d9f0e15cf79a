package cli

import (
	"runtime"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Example: "  stark version\n  stark version -o json",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return a.done(map[string]any{
				"version": Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
			}, "stark %s (%s, %s/%s)", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
