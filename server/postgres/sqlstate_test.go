package postgres_test

import (
	"io/fs"
	"regexp"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/supabase"
)

// TestEverySQLStateOfOursIsMapped finds what the migrations raise, and wants a fault
// for each that is not an internal error.
func TestEverySQLStateOfOursIsMapped(t *testing.T) {
	t.Parallel()
	raise := regexp.MustCompile(`errcode = '([^']+)'`)
	files, err := fs.Glob(supabase.Migrations, "migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		text, err := fs.ReadFile(supabase.Migrations, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range raise.FindAllStringSubmatch(string(text), -1) {
			seen[m[1]] = true
			if code := postgres.CodeOfState(m[1]); code == fault.Internal {
				t.Errorf("%s raises %s, which nobody maps to a fault", file, m[1])
			}
		}
	}
	if len(seen) < 5 {
		t.Errorf("only %v are raised: does the search still find them?", seen)
	}
}
