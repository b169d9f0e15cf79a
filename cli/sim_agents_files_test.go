package cli

import (
	"math"
	"strings"
	"testing"
)

func TestMoreAgentsThanOpenFilesAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		agents, files int
		ok            bool
	}{{100, 256, true}, {206, 256, true}, {207, 256, false}, {10_000, 1024, false}, {50_000, math.MaxInt32, true}} {
		err := enoughFiles(c.agents, c.files)
		if (err == nil) != c.ok {
			t.Errorf("%d agents with %d files: %v", c.agents, c.files, err)
		}
		if err != nil && !strings.Contains(err.Error(), "ulimit -n") {
			t.Errorf("%v does not say what to do", err)
		}
	}
	if mostOpenFiles() < 3 {
		t.Errorf("a process may have %d files", mostOpenFiles())
	}
}
