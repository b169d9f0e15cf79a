package supabasecli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/supabase"
	"github.com/stark-orchestrator/stark/supabase/migrate"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

func TestMain(m *testing.M) { os.Exit(migratetest.Main(context.Background(), m)) }

const (
	fetchLimit   = 5 * time.Minute
	commandLimit = 2 * time.Minute
)

// fetch returns the path of the CLI. Files are moved into place whole, so that
// two test runs may fetch at once.
func fetch(ctx context.Context) (string, error) {
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(lock)
	home := filepath.Join(cache, "stark", "supabase-cli-"+hex.EncodeToString(sum[:6]))
	program := filepath.Join(home, "node_modules", ".bin", "supabase")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(home), "fetch-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(work, name), text, 0o600); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	// Not "npm ci": it refuses a lock that lacks the packages of other platforms,
	// and not every registry has them all. What the lock names is held to it.
	install := exec.CommandContext(ctx, "npm", "install", "--no-save")
	install.Dir = work
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install: %w: %s", err, lastLine(out))
	}
	if err := os.Rename(work, home); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, raced := os.Stat(program); raced != nil {
			return "", err
		}
	}
	return program, nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// project is a folder with a copy of supabase/, and the CLI run in it.
type project struct {
	dir, program, url string
}

func newProject(t *testing.T, url string) project {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the Supabase CLI is a download of 140 MB")
	}
	program, err := fetch(t.Context())
	if err != nil {
		t.Skipf("the Supabase CLI cannot be fetched: %v", err)
	}
	p := project{dir: t.TempDir(), program: program, url: url}
	folder := filepath.Join(p.dir, "supabase")
	if err := os.CopyFS(folder, supabase.Migrations); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"config.toml": supabase.Config, "seed.sql": supabase.Seed} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// try runs one command against the database and returns what it printed.
func (p project) try(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.program, append(args, "--remote="+p.url, "--yes", "--agent", "no")...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "DO_NOT_TRACK=1")
	var out, errors strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errors
	err = cmd.Run()
	return out.String(), errors.String(), err
}

// complaints are what the CLI says of a config.toml that it reads otherwise than
// its author meant.
var complaints = []string{"does not recognize", "WARN", "deprecated", "nvalid config", "failed to parse"}

func complains(text string) bool {
	return slices.ContainsFunc(complaints, func(word string) bool { return strings.Contains(text, word) })
}

// run is try for commands that have nothing to complain about.
func (p project) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	stdout, stderr, err := p.try(t, args...)
	if complains(stdout) || complains(stderr) {
		t.Errorf("supabase %s complains: %s%s", args, stdout, stderr)
	}
	return stdout + stderr, err
}

func (p project) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.run(t, args...)
	if err != nil {
		t.Fatalf("supabase %s: %v\n%s", args, err, out)
	}
	return out
}

func sslOff(url string) string {
	if strings.Contains(url, "sslmode=") {
		return url
	}
	if strings.Contains(url, "?") {
		return url + "&sslmode=disable"
	}
	return url + "?sslmode=disable"
}

func TestTheCLIAppliesMigrationsAndSeed(t *testing.T) {
	t.Parallel()
	d := migratetest.Bare(t)
	// As on a hosted project, the role that migrates is no superuser.
	if migratetest.Value[bool](t, d.Conn, `select rolsuper from pg_roles where rolname = current_user`) {
		t.Fatal("the role that pushes is a superuser")
	}
	p := newProject(t, sslOff(d.URL()))
	p.must(t, "db", "push", "--include-seed")
	p.must(t, "db", "push", "--include-seed")

	// The runner goes on where the CLI stopped: nothing is left to apply.
	if applied, err := migrate.Up(t.Context(), d.Conn); err != nil || len(applied) != 0 {
		t.Errorf("Up after the CLI applied %v, %v", applied, err)
	}
	if n := migratetest.Value[int](t, d.Conn, `select count(*) from public.namespaces where name = 'demo'`); n != 1 {
		t.Errorf("%d seeded namespaces", n)
	}
}

func TestTheCLIGoesOnAfterTheRunner(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	p := newProject(t, sslOff(d.URL()))
	if out := p.must(t, "db", "push"); strings.Contains(out, "Applying migration") {
		t.Errorf("the CLI applied what the runner had applied:\n%s", out)
	}
	// Both write the same statements, whichever splits the files.
	fresh := migratetest.Bare(t)
	q := newProject(t, sslOff(fresh.URL()))
	q.must(t, "db", "push")
	const record = `select version || ' ' || name from supabase_migrations.schema_migrations order by 1`
	ours, theirs := migratetest.Values[string](t, d.Conn, record), migratetest.Values[string](t, fresh.Conn, record)
	if strings.Join(ours, "\n") != strings.Join(theirs, "\n") {
		t.Errorf("records differ:\n%s\n%s", ours, theirs)
	}
	const counts = `select version || ' ' || coalesce(cardinality(statements), 0) from supabase_migrations.schema_migrations order by 1`
	ours, theirs = migratetest.Values[string](t, d.Conn, counts), migratetest.Values[string](t, fresh.Conn, counts)
	if strings.Join(ours, "\n") != strings.Join(theirs, "\n") {
		t.Errorf("numbers of statements differ:\n%s\n%s", ours, theirs)
	}
}
