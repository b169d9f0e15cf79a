//go:build unix

package nodejs_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The agent and the executor's seam are part of the tab's program: what would make
// it large or could not work there stays out.
func TestImportsForTheBrowser(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "..", "../executor")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := strings.Fields(string(out))
	for _, forbidden := range []string{"net/http", "os/exec", "net", "crypto/tls", "github.com/coder/websocket"} {
		if slices.Contains(deps, forbidden) {
			t.Errorf("the agent imports %s", forbidden)
		}
	}
}
