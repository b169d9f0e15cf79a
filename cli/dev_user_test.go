package cli

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDevGivesBackTheServerThatTheUserHasChosen(t *testing.T) {
	t.Parallel()
	d := startDev(t, "--no-node")
	d.expect("ready in")
	if got := d.stark("config").stdout; !strings.Contains(got, "http://127.0.0.1:") {
		t.Errorf("commands do not talk to the cluster: %s", got)
	}
	d.stop()
	if got := d.stark("config").stdout; !strings.Contains(got, DefaultAPIURL) {
		t.Errorf("after the end: %s", got)
	}

	if got := d.stark("config", "set", "apiUrl", "http://127.0.0.1:1"); got.code != 0 {
		t.Fatal(got.stderr)
	}
	d.start("--once")
	d.expect("ready in")
	if code := <-d.exit; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := d.stark("config").stdout; !strings.Contains(got, "http://127.0.0.1:1\n") {
		t.Errorf("--once has moved the user to a server that has ended: %s", got)
	}
	d.start("--no-node")
	d.expect("commands of this user talk to")
	d.stop()
	if got := d.stark("config").stdout; !strings.Contains(got, "http://127.0.0.1:1\n") {
		t.Errorf("after the end: %s", got)
	}
}

// The embedded project belongs to its state folder, so that losing the password
// locks nobody out.
func TestDevLetsItsAdminInAgain(t *testing.T) {
	t.Parallel()
	d := startDev(t, "--no-node")
	d.expect("ready in")
	d.stop()
	file := filepath.Join(d.dir, "dev-admin.json")
	for name, spoil := range map[string]func() error{
		"damaged": func() error { return os.Truncate(file, 3) },
		"absent":  func() error { return os.Remove(file) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		d.start("--no-node")
		d.expect("[ok] you", "dev@stark.local", "admin")
		d.expect("ready in")
		if got := d.stark("auth", "whoami"); got.code != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		d.stop()
	}
}

// A project that others have set up has its admin already: this state folder does
// not know the password, but its user may.
func TestDevOnAProjectWithAnAdmin(t *testing.T) {
	c, err := shared.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	script := fmt.Sprintf("#!/bin/sh\ncat <<'EOF'\nAPI_URL=%q\nDB_URL=%q\nANON_KEY=%q\nSERVICE_ROLE_KEY=%q\nJWT_SECRET=%q\nEOF\n",
		c.Project.URL, c.Project.DBURL, c.Project.AnonKey, c.Project.ServiceRoleKey, c.Project.JWTSecret)
	if err := os.WriteFile(filepath.Join(bin, "supabase"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	d := startDev(t, "--supabase", "--no-node")
	d.expect("error: you: the project has an admin that this state folder does not know")
	d.expect("STARK_EMAIL", "STARK_PASSWORD", "stark auth login")
	if code := <-d.exit; code != exitNotAllowed {
		t.Errorf("exit code %d", code)
	}

	d.env["STARK_EMAIL"], d.env["STARK_PASSWORD"] = c.Email, "wrong"
	d.start("--supabase", "--no-node")
	d.expect("sign in as "+c.Email, "wrong e-mail or password")
	<-d.exit

	d.env["STARK_PASSWORD"] = c.Password
	port := freePort(t)
	d.start("--supabase", "--no-node", "--port", port)
	d.expect("[ok] you", c.Email+" (admin")
	d.expect("ready in")
	d.stop()

	// Its sign-in is kept for the next start.
	delete(d.env, "STARK_EMAIL")
	delete(d.env, "STARK_PASSWORD")
	d.start("--supabase", "--no-node", "--port", port)
	d.expect("[ok] you", c.Email+" (admin", "kept sign-in")
	d.expect("ready in")
	d.stop()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	u, err := url.Parse("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func TestDevDoesNotWaitForWhatANewerSaveReplaces(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	writeFiles(t, folder, map[string]string{"stark.pack.json": `{"name":"hasty","version":"0.1.0"}`, "index.js": packText("first", "")})
	d := startDev(t, folder)
	d.expect("hasty | INFO first")
	writeFiles(t, folder, map[string]string{"index.js": packText("never", "for (;;);")})
	d.expect("[ok] pack", "0.1.0-dev.1")
	writeFiles(t, folder, map[string]string{"index.js": packText("third", "")})
	d.expect("[..] pod", "hasty 0.1.0-dev.1", "a newer save replaces it")
	d.expectAll("[ok] pod        hasty 0.1.0-dev.2  running", "hasty | INFO third")
	d.stop()
}
