package rules_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ownLoggers are the tests that make a logger themselves, and why.
var ownLoggers = map[string]string{
	"shared/logging/":        "test the loggers",
	"server/config_test.go":  "looks for the keys of a configuration itself",
	"cli/dev_output_test.go": "tests a handler",
	"supabase/devstack/pg/":  "Postgres has no secret but the password postgres",
	"tests/harness/":         "the output of every process is searched by the end-to-end tests",
}

// A test whose log is thrown away, or written where nobody looks, finds no secret in it.
func TestTestsLogWhereSecretsAreFound(t *testing.T) {
	t.Parallel()
	makes := regexp.MustCompile(`\bslog\.(New|Default|SetDefault)\(|\blogging\.New\(`)
	used := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(path), root+"/")
		if !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "tests/") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || name == "tests/rules/loggers_test.go" || !makes.Match(text) {
			return err
		}
		for prefix := range ownLoggers {
			if strings.HasPrefix(name, prefix) {
				used[prefix] = true
				return nil
			}
		}
		t.Errorf("%s makes a logger of its own: use shared/logging/loggingtest, which finds secrets", name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for prefix := range ownLoggers {
		if !used[prefix] {
			t.Errorf("%s is excused and makes no logger", prefix)
		}
	}
}
