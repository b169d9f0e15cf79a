package agent

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestARemedyFitsItsRefusal(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		ErrRefused:                              "fresh join token",
		fault.New(fault.TokenExpired, "old"):    "fresh join token",
		fault.New(fault.Conflict, "taken"):      "another node has this name",
		fault.New(fault.Validation, "bad name"): "not valid",
		fault.New(fault.Forbidden, "no"):        "may not register nodes",
	} {
		if got := remedy(err); !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q in it", err, got, want)
		}
	}
}
