package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/cli/local"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/supabase/devstack"
)

// devRun is a `stark dev` in this process.
type devRun struct {
	t      *testing.T
	env    map[string]string
	dir    string
	cancel context.CancelFunc
	lines  chan string
	exit   chan int
	seen   []string
}

func startDev(t *testing.T, args ...string) *devRun {
	t.Helper()
	d := &devRun{t: t, dir: filepath.Join(t.TempDir(), "state"), exit: make(chan int, 1)}
	d.env = map[string]string{"STARK_HOME": filepath.Join(t.TempDir(), "home")}
	d.start(args...)
	return d
}

func (d *devRun) start(args ...string) {
	lines := make(chan string, 1000)
	d.lines = lines
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	ended := make(chan struct{})
	d.t.Cleanup(func() {
		cancel()
		<-ended // the folder is removed next
	})
	read, write := io.Pipe()
	args = append([]string{"dev", "--dir", d.dir, "--port", "0", "--supabase-port", "0"}, args...)
	go func() {
		a := &app{
			getenv: func(k string) string { return d.env[k] }, stdin: newInput(strings.NewReader("")), stdout: write, stderr: write,
			passwordCost: devstack.LeastPasswordCost, // others keep a core of the race detector busy for seconds
		}
		code := a.run(ctx, args)
		_ = write.Close()
		d.exit <- code
		close(ended)
	}()
	go func() {
		scan := bufio.NewScanner(read)
		scan.Buffer(nil, 1<<20)
		for scan.Scan() {
			lines <- scan.Text()
		}
		close(lines)
	}()
}

// expect waits for a line with all of the texts and gives it.
func (d *devRun) expect(texts ...string) string {
	d.t.Helper()
	limit := time.After(90 * time.Second)
next:
	for {
		select {
		case l, open := <-d.lines:
			if !open {
				d.t.Fatalf("dev ended before %q:\n%s", texts, strings.Join(d.seen, "\n"))
			}
			d.seen = append(d.seen, l)
			for _, text := range texts {
				if !strings.Contains(l, text) {
					continue next
				}
			}
			return l
		case <-limit:
			d.t.Fatalf("no line with %q:\n%s", texts, strings.Join(d.seen, "\n"))
		}
	}
}

// expectAll waits for lines with these texts, in any order.
func (d *devRun) expectAll(wanted ...string) {
	d.t.Helper()
	for len(wanted) > 0 {
		line := d.expect()
		wanted = slices.DeleteFunc(wanted, func(text string) bool { return strings.Contains(line, text) })
	}
}

// stop is Ctrl-C.
func (d *devRun) stop() {
	d.t.Helper()
	d.cancel()
	select {
	case code := <-d.exit:
		if code != 0 {
			d.t.Errorf("dev ended with %d after Ctrl-C:\n%s", code, strings.Join(d.seen, "\n"))
		}
	case <-time.After(90 * time.Second):
		d.t.Fatal("dev did not end after Ctrl-C")
	}
}

func (d *devRun) stark(args ...string) result {
	d.t.Helper()
	return run(d.t, d.env, "", args...)
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func packText(line, extra string) string {
	return fmt.Sprintf(`export default async function ({ log, signal, ready }) {
  %s
  log.info(%q);
  ready();
  await new Promise((done) => signal.addEventListener("abort", done));
}
`, extra, line)
}

func TestDevRollsOutOnEverySave(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	writeFiles(t, folder, map[string]string{
		"stark.pack.json": `{"name":"saved","version":"0.1.0","env":{"A":"1"}}`, "index.js": packText("first", ""),
	})
	d := startDev(t, folder)
	d.expect("[ok] database")
	d.expect("[ok] pack", "saved 0.1.0", "runs on: node, browser")
	d.expect("[ok] pod", "running on node-1")
	d.expect("watching")
	d.expect("saved | INFO first")
	first := strings.TrimSpace(strings.TrimPrefix(d.stark("pod", "list", "-o", "name", "--status", "running").stdout, "pod/"))
	if got := d.stark("pod", "status", first, "-o", "json"); !strings.Contains(got.stdout, `"A": "1"`) {
		t.Errorf("the manifest's env is missing: %s%s", got.stdout, got.stderr)
	}

	writeFiles(t, folder, map[string]string{"index.js": packText("second", "")})
	d.expect("[ok] pack", "saved 0.1.0-dev.1")
	d.expectAll("[ok] pod        saved 0.1.0-dev.1  running", "saved | INFO second")

	// What cannot be built, and a version that fails, show their line; the pod goes on.
	writeFiles(t, folder, map[string]string{"index.js": packText("third", "const = 1;")})
	d.expect("[!!] pack", "index.js:2:9")
	d.expect("const = 1;")
	d.expect("      ^")
	if err := os.Remove(filepath.Join(folder, "index.js")); err != nil {
		t.Fatal(err)
	}
	d.expect("[!!] pack", "has no entry")
	writeFiles(t, folder, map[string]string{"index.js": packText("fourth", `throw new Error("boom at start");`)})
	d.expect("[!!] pod", "0.1.0-dev.2 failed")
	d.expectAll("boom at start", "index.js:2:9", "  2 |   throw new Error", "    |         ^", "saved 0.1.0-dev.1 goes on")
	writeFiles(t, folder, map[string]string{"index.js": packText("fifth", "")})
	d.expectAll("[ok] pod        saved 0.1.0-dev.3  running", "INFO fifth")

	// One pod all the time, and its history knows of each version that ran.
	got := d.stark("pod", "list", "--status", "running", "-o", "json")
	var pods []api.Pod
	if err := json.Unmarshal([]byte(got.stdout), &pods); err != nil || len(pods) != 1 || pods[0].ID != first || pods[0].PackVersion != "0.1.0-dev.3" {
		t.Errorf("running: %v, want pod %s at 0.1.0-dev.3\n%s%s", err, first, got.stdout, got.stderr)
	}
	if got := d.stark("pod", "history", first); !strings.Contains(got.stdout, "0.1.0 -> 0.1.0-dev.1") || !strings.Contains(got.stdout, "0.1.0-dev.1 -> 0.1.0-dev.3") {
		t.Errorf("the history does not tell of the versions:\n%s", got.stdout)
	}

	// A pod in another environment is another pod.
	writeFiles(t, folder, map[string]string{"stark.pack.json": `{"name":"saved","version":"0.1.0","env":{"A":"2"}}`, "index.js": packText("sixth", "")})
	d.expectAll("[ok] pod        saved 0.1.0-dev.", "INFO sixth")
	d.stop()

	// The state is kept: the same bytes are the same version, and the pod goes on.
	d.start(folder)
	d.expect("[ok] pack", "0.1.0-dev.")
	d.expect("[ok] pod", "0.1.0-dev.", "running")
	d.stop()
	if _, err := os.Stat(filepath.Join(d.dir, "dev.log")); err != nil {
		t.Error(err)
	}
}

func TestDevOnceAsJSON(t *testing.T) {
	t.Parallel()
	d := startDev(t, "--once", "--json")
	var steps []string
	var ready map[string]any
	for ready == nil {
		var step map[string]any
		l := d.expect("{")
		if err := json.Unmarshal([]byte(l), &step); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if step["ok"] != true {
			t.Fatalf("failed: %s", l)
		}
		name, _ := step["step"].(string)
		if steps = append(steps, name); name == "ready" {
			ready = step
		}
	}
	if got := strings.Join(steps, " "); got != "database schema server you node pack pod ready" {
		t.Errorf("steps: %s", got)
	}
	for _, key := range []string{"apiUrl", "supabaseUrl", "anonKey", "serviceRoleKey", "dbUrl", "email", "password", "node", "pod", "log"} {
		if s, _ := ready[key].(string); s == "" {
			t.Errorf("ready has no %s", key)
		}
	}
	if code := <-d.exit; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestDevWithoutNodeReusesTheHelloPod(t *testing.T) {
	t.Parallel()
	d := startDev(t, "--no-node")
	d.expect("[ok] pod", "there is no node")
	d.expect("ready in")
	before := d.stark("pod", "list", "-o", "name").stdout
	second := d.stark("dev", "--dir", d.dir, "--port", "0", "--supabase-port", "0", "--once")
	if second.code != 1 || !strings.Contains(second.stderr, "is held by process") || !strings.Contains(second.stderr, "--dir") {
		t.Errorf("a second dev in the same folder: %+v", second)
	}
	d.stop()
	d.start("--no-node")
	d.expect("ready in")
	d.expect("stark status")
	if after := d.stark("pod", "list", "-o", "name").stdout; after != before || strings.Count(after, "pod/") != 1 {
		t.Errorf("pods before: %q, after: %q", before, after)
	}
	if got := d.stark("pod", "explain", strings.TrimSpace(strings.TrimPrefix(before, "pod/"))); got.code != 0 {
		t.Errorf("explain: %+v", got)
	}
	d.stop()
}

func TestDevOnceTellsWhyItFailed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	writeFiles(t, folder, map[string]string{"index.js": `throw new Error("not today");`})
	d := startDev(t, folder, "--once", "--json")
	l := d.expect(`"ok":false`)
	if !strings.Contains(l, `"step":"pod"`) || !strings.Contains(l, "not today") {
		t.Errorf("got %s", l)
	}
	if code := <-d.exit; code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

// The server of `stark dev` is told which sites may ask for tabs: it refuses a wrong one.
func TestDevTakesTheSitesThatEmbedTabs(t *testing.T) {
	t.Parallel()
	d := &devRun{t: t, dir: filepath.Join(t.TempDir(), "state"), exit: make(chan int, 1)}
	d.env = map[string]string{"STARK_HOME": filepath.Join(t.TempDir(), "home"), "STARK_EMBED_ORIGINS": "*"}
	d.start("--once", "--json")
	d.expect(`"ok":false`, `"step":"server"`, "STARK_EMBED_ORIGINS")
}

func TestDevOnceNeedsALineOfOutput(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	writeFiles(t, folder, map[string]string{"index.js": `module.exports = () => {};`})
	d := startDev(t, folder, "--once")
	d.expect("error: log: the pod is succeeded", "has written nothing")
	if code := <-d.exit; code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestParseProject(t *testing.T) {
	t.Parallel()
	want := local.Project{URL: "http://127.0.0.1:54321", DBURL: "postgresql://postgres:postgres@127.0.0.1:54322/postgres", AnonKey: "p", ServiceRoleKey: "s", JWTSecret: "j"}
	for name, text := range map[string]string{
		"older":      "API_URL=\"http://127.0.0.1:54321\"\nDB_URL=\"postgresql://postgres:postgres@127.0.0.1:54322/postgres\"\nANON_KEY=\"p\"\nSERVICE_ROLE_KEY=\"s\"\nJWT_SECRET=\"j\"\n",
		"newer":      "Stopped services: [supabase_vector_stark]\nANON_KEY=\"a\"\nAPI_URL=\"http://127.0.0.1:54321\"\nDB_URL=\"postgresql://postgres:postgres@127.0.0.1:54322/postgres\"\nJWT_SECRET=\"j\"\nPUBLISHABLE_KEY=\"p\"\nSECRET_KEY=\"s\"\nSERVICE_ROLE_KEY=\"r\"\n",
		"overridden": "SUPABASE_URL=\"http://127.0.0.1:54321\"\nSUPABASE_DB_URL=postgresql://postgres:postgres@127.0.0.1:54322/postgres\nSUPABASE_PUBLISHABLE_KEY='p'\nexport SUPABASE_SECRET_KEY=\"s\"\nSUPABASE_JWT_SECRET=\"j\"\n",
	} {
		if p, err := parseProject(text); err != nil || p != want {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
	if _, err := parseProject("Stopped services: [...]"); err == nil {
		t.Error("a stopped project is taken")
	}
}

// TestDevOnAProject gives `supabase status` a program that shows the shared cluster.
func TestDevOnAProject(t *testing.T) {
	c, err := shared.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	show := func(text string) {
		t.Helper()
		script := "#!/bin/sh\ncat <<'EOF'\n" + text + "\nEOF\n"
		if err := os.WriteFile(filepath.Join(bin, "supabase"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	show("nothing runs")
	d := startDev(t, "--supabase", "--json", "--no-node")
	d.expect(`"ok":false`, `"step":"database"`, "shows no running project")
	<-d.exit

	show(fmt.Sprintf("API_URL=%q\nDB_URL=%q\nANON_KEY=%q\nSERVICE_ROLE_KEY=%q\nJWT_SECRET=%q",
		c.Project.URL, c.Project.DBURL, c.Project.AnonKey, c.Project.ServiceRoleKey, c.Project.JWTSecret))
	conn, err := pgx.Connect(t.Context(), c.Project.DBURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), "create table public.orders (id int)"); err != nil {
		t.Fatal(err)
	}
	d = startDev(t, "--supabase", "--no-node")
	d.expect("not Stark's: orders")
	d.expect("a project of its own")
	<-d.exit
	if _, err := conn.Exec(t.Context(), "drop table public.orders"); err != nil {
		t.Fatal(err)
	}
	// The project has its admin already; whoever knows its password is let in.
	account, err := os.ReadFile(filepath.Join(shared.dir, "dev-admin.json"))
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "known")
	writeFiles(t, state, map[string]string{"dev-admin.json": string(account)})
	d = startDev(t, "--supabase", "--no-node", "--dir", state)
	d.expect("[ok] database", "supabase status")
	d.expect("ready in")
	d.stop()
}

func TestDevVersions(t *testing.T) {
	t.Parallel()
	d := &dev{}
	versions := []api.PackVersion{{ID: "a", Version: "1.0.0"}, {ID: "b", Version: "1.0.0-dev.9"}, {ID: "c", Version: "1.0.0-dev.10"}, {ID: "d", Version: "1.0.0-dev.x"}, {ID: "e", Version: "2.0.0"}}
	if id, n := d.newest(versions, "1.0.0"); id != "c" || n != 10 {
		t.Errorf("newest = %s, %d", id, n)
	}
	if id, n := d.newest(versions, "3.0.0"); id != "" || n != 0 {
		t.Errorf("newest of none = %s, %d", id, n)
	}
	for base, want := range map[string]string{"1.0.0": "1.0.0-dev.2", "1.0.0-rc.1": "1.0.0-rc.1.dev.2", "1.0.0+build": "1.0.0-dev.2"} {
		if got := devVersion(base, 2); got != want || !api.ValidVersion(got) {
			t.Errorf("devVersion(%s) = %s, want %s", base, got, want)
		}
	}
}
