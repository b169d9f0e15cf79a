package rules_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/server"
)

const root = "../.."

// section gives the text under a heading of docs/operations.md, up to the next.
func section(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/operations.md has no section %q", heading)
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	return body
}

// firstColumn gives what stands between backticks in the first column of the
// tables of a section.
func firstColumn(text string) []string {
	quoted := regexp.MustCompile("`([^`]+)`")
	var out []string
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || cells[0] != "" {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			out = append(out, m[1])
		}
	}
	slices.Sort(out)
	return out
}

func compare(t *testing.T, what string, code, docs []string) {
	t.Helper()
	for _, name := range code {
		if !slices.Contains(docs, name) {
			t.Errorf("docs/operations.md lacks the %s %s", what, name)
		}
	}
	for _, name := range docs {
		if !slices.Contains(code, name) {
			t.Errorf("docs/operations.md has the %s %s, which the code does not know", what, name)
		}
	}
	if len(slices.Compact(docs)) != len(docs) {
		t.Errorf("docs/operations.md has a %s twice: %v", what, docs)
	}
}

func TestTheVariablesOfTheServerAreDocumented(t *testing.T) {
	t.Parallel()
	var read []string
	// An empty environment makes LoadConfig try every name; the error tells what is required.
	_, err := server.LoadConfig(func(name string) string {
		if !slices.Contains(read, name) {
			read = append(read, name)
		}
		return ""
	})
	if err == nil {
		t.Fatal("an empty environment was accepted")
	}
	text := section(t, "Environment of the server")
	compare(t, "variable", read, firstColumn(text))
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		name := firstColumn(line)[0]
		required := strings.Contains(err.Error(), "set "+name) || strings.Contains(err.Error(), " or "+name)
		if documented := strings.TrimSpace(cells[2]) == "required"; documented != required {
			t.Errorf("%s: required is %v, documented as %v", name, required, documented)
		}
	}
}

// The defaults that the table names are accepted, and change nothing.
func TestTheDefaultsOfTheServerAreDocumented(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"SUPABASE_URL": "http://127.0.0.1:54321", "SUPABASE_ANON_KEY": "anon", "SUPABASE_SERVICE_ROLE_KEY": "service",
		"DATABASE_URL": "postgres://localhost/postgres", "STARK_SETUP_CODE": "a code for everybody",
	}
	load := func() server.Config {
		c, err := server.LoadConfig(func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		c.Sources = nil
		return c
	}
	bare := load()
	given := 0
	for line := range strings.Lines(section(t, "Environment of the server")) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		value := strings.TrimSpace(cells[2])
		if value == "required" || value == "none" || value == "random" || strings.Contains(value, " ") || strings.Contains(value, "`") {
			continue
		}
		for _, name := range firstColumn(line) {
			env[name] = value
			given++
		}
	}
	const least = 10 // rows whose default is a plain value
	if given < least {
		t.Fatalf("only %d defaults were found", given)
	}
	if full := load(); !reflect.DeepEqual(bare, full) {
		t.Errorf("the documented defaults give\n%+v, want\n%+v", full, bare)
	}
}

func TestTheMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`Name:\s+"(stark_[a-z_]+)"`)
	var code []string
	err := filepath.WalkDir(filepath.Join(root, "server"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range named.FindAllSubmatch(text, -1) {
			code = append(code, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "metric", code, firstColumn(section(t, "Metrics")))
}
