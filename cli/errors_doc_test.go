package cli

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// TestEveryCodeIsInTheTable holds docs/errors.md against the codes, their statuses and
// their exit codes.
func TestEveryCodeIsInTheTable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (\\d+) \\| (\\d) \\| [^|]+ \\| [^|]+ \\|$")
	listed := map[fault.Code]string{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		if code := fault.Code(m[1]); listed[code] != "" {
			t.Errorf("%s stands there twice", code)
		} else {
			listed[code] = m[2] + " " + m[3]
		}
	}
	for code, status := range fault.Codes() {
		want := fmt.Sprintf("%d %d", status, exitCode(fault.New(code, "x")))
		if listed[code] != want {
			t.Errorf("%s: the table says %q, the code HTTP status and exit code %q", code, listed[code], want)
		}
		delete(listed, code)
	}
	for code := range listed {
		t.Errorf("%s is in the table, and no code", code)
	}
}
