package rules_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unsetLoggers are what may be started without a logger, and why that hides no secret.
var unsetLoggers = map[string]string{
	"supabase/devstack/pg.Options":              "Postgres has no secret but the password postgres",
	"agent/agent_test.go":                       "starts only what is refused; the others are made in server_test.go",
	"supabase/devstack/storage/durable_test.go": "starts only what is refused; the others are made in main_test.go",
}

// A logger that is left unset logs nothing, so that nobody finds a secret in it.
func TestTestsLeaveNoLoggerUnset(t *testing.T) {
	t.Parallel()
	files := parsed(t)
	logged := withLogger(files)
	if len(logged) < 10 {
		t.Fatalf("only %v have a logger: does the search still find them?", logged)
	}
	for name, f := range files {
		if !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "tests/") {
			continue
		}
		folder := filepath.ToSlash(filepath.Dir(name))
		for _, l := range unset(f, folder, logged) {
			_, everywhere := unsetLoggers[l]
			if _, here := unsetLoggers[name]; !everywhere && !here && !completes(files, folder) {
				t.Errorf("%s leaves the logger of %s unset: give it one of shared/logging/loggingtest", name, l)
			}
		}
	}
}

// completes tells whether the tests of a folder make what they start through a function
// that sets the logger.
func completes(files map[string]*ast.File, folder string) bool {
	for name, f := range files {
		if !strings.HasSuffix(name, "_test.go") || filepath.ToSlash(filepath.Dir(name)) != folder {
			continue
		}
		for n := range ast.Preorder(f) {
			a, ok := n.(*ast.AssignStmt)
			if ok && slices.ContainsFunc(a.Lhs, func(to ast.Expr) bool {
				s, isField := to.(*ast.SelectorExpr)
				return isField && s.Sel.Name == "Logger"
			}) {
				return true
			}
		}
	}
	return false
}

func parsed(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		files[strings.TrimPrefix(filepath.ToSlash(path), root+"/")] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// withLogger are the structs with a field Logger, as folder.Name.
func withLogger(files map[string]*ast.File) (found []string) {
	for name, f := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for n := range ast.Preorder(f) {
			spec, isType := n.(*ast.TypeSpec)
			if !isType {
				continue
			}
			if s, isStruct := spec.Type.(*ast.StructType); isStruct && slices.ContainsFunc(s.Fields.List, isLogger) {
				found = append(found, filepath.ToSlash(filepath.Dir(name))+"."+spec.Name.Name)
			}
		}
	}
	return found
}

func isLogger(f *ast.Field) bool {
	return slices.ContainsFunc(f.Names, func(n *ast.Ident) bool { return n.Name == "Logger" })
}

// unset are the structs that a file makes without their logger.
func unset(f *ast.File, folder string, logged []string) (found []string) {
	packages := map[string]string{}
	for _, i := range f.Imports {
		path := strings.Trim(i.Path.Value, `"`)
		_, local, ours := strings.Cut(path, "stark-orchestrator/stark/")
		if name := filepath.Base(path); ours && i.Name != nil {
			packages[i.Name.Name] = local
		} else if ours {
			packages[name] = local
		}
	}
	for n := range ast.Preorder(f) {
		l, ok := n.(*ast.CompositeLit)
		if !ok {
			continue
		}
		name := ""
		switch of := l.Type.(type) {
		case *ast.Ident:
			name = folder + "." + of.Name
		case *ast.SelectorExpr:
			if p, ok := of.X.(*ast.Ident); ok {
				name = packages[p.Name] + "." + of.Sel.Name
			}
		}
		if slices.Contains(logged, name) && !slices.ContainsFunc(l.Elts, setsLogger) {
			found = append(found, name)
		}
	}
	return found
}

func setsLogger(e ast.Expr) bool {
	kv, ok := e.(*ast.KeyValueExpr)
	if !ok {
		return false
	}
	key, ok := kv.Key.(*ast.Ident)
	return ok && key.Name == "Logger"
}
