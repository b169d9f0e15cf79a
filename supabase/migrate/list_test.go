package migrate

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stark-orchestrator/stark/supabase"
)

func TestAVersionIsOneFile(t *testing.T) {
	t.Parallel()
	if _, err := list(supabase.Migrations); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{
		"migrations/20260101000001_other.sql": "have one version", "migrations/2_short.sql": "14 digits",
	} {
		files := fstest.MapFS{"migrations/20260101000001_one.sql": {}, name: {}}
		if _, err := list(files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
