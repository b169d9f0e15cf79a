package rules_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// invariants is the section of docs/architecture.md.
func invariants(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## Invariants\n")
	if !found {
		t.Fatal("docs/architecture.md has no section Invariants")
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	return body
}

// testNames finds the names of all tests of the workspace.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestEveryInvariantHasATest(t *testing.T) {
	t.Parallel()
	names := testNames(t)
	quoted := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	rows := 0
	for line := range strings.Lines(invariants(t)) {
		found := quoted.FindAllStringSubmatch(line, -1)
		for _, m := range found {
			if !names[m[1]] {
				t.Errorf("the section Invariants names %s, which there is not", m[1])
			}
		}
		cells := strings.Split(line, "|")
		if cells[0] != "" || len(cells) < 4 || strings.Contains(line, "---") || strings.Contains(line, "shown by") {
			continue
		}
		rows++
		if len(found) == 0 && !strings.Contains(cells[len(cells)-2], "none of its own") {
			t.Errorf("no test is named for: %s", strings.TrimSpace(cells[1]))
		}
	}
	const fewest = 30
	if rows < fewest {
		t.Errorf("the section Invariants has %d rows, want at least %d", rows, fewest)
	}
}

func TestEveryAcceptanceRowIsMapped(t *testing.T) {
	t.Parallel()
	text := invariants(t)
	const last = 26
	for i := 1; i <= last; i++ {
		if row := fmt.Sprintf("\n| X-%02d ", i); strings.Count(text, row) != 1 {
			t.Errorf("row X-%02d stands %d times in the section Invariants, want once", i, strings.Count(text, row))
		}
	}
}
