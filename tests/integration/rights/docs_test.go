package rights

import (
	"os"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
)

func TestThePageOfRightsIsFresh(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/rights.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != access.Markdown() {
		t.Error("docs/rights.md is not what core/access says: run make rights")
	}
	for _, k := range access.Kinds {
		for _, a := range access.Actions {
			for _, role := range access.Columns {
				if scope := access.ScopeOf(role, a, k); !strings.Contains(string(text), string(scope)) {
					t.Errorf("the page does not know %q", scope)
				}
			}
		}
	}
}
