// Package shared_test guards what the packages of this module may import.
package shared_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTheTabStaysSmall holds what a browser tab loads to small packages.
func TestTheTabStaysSmall(t *testing.T) {
	t.Parallel()
	forbidden := []string{"net/http", "regexp", "net", "os/exec", "crypto/tls", "html/template", "k8s.io/apimachinery"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "./api", "./wire", "./fault", "./logging")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		if slices.Contains(forbidden, pkg) {
			t.Errorf("api, wire, fault or logging imports %s for js/wasm", pkg)
		}
		if rest, ours := strings.CutPrefix(pkg, "github.com/stark-orchestrator/stark/"); ours && !strings.HasPrefix(rest, "shared/") {
			t.Errorf("shared imports %s", pkg)
		}
	}
}
