package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/agent/nodejs"
)

const (
	skewWarning = 2 * time.Second
	skewFailure = 30 * time.Second // what verifiers of tokens forgive
)

// machine checks what this machine needs for itself.
func (d *doctor) machine(ctx context.Context) {
	if path, version, err := nodejs.Find(ctx, ""); err != nil {
		d.warn("node", "install Node.js where nodes shall run; servers and this command do not need it", "%s", err)
	} else {
		d.ok("node", "%s, version %s", path, version)
	}
	d.credentials()
}

// credentials checks who may read the kept sessions.
func (d *doctor) credentials() {
	const check = "credentials"
	store := d.app.home.credentials()
	path := d.app.home.path(credentialsFile)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.ok(check, "no sign-in is kept on this machine")
		return
	case err != nil:
		d.fail(check, "make the file readable for yourself", "%s", err)
		return
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		d.fail(check, "chmod 600 "+path, "others may read %s (mode %o)", path, info.Mode().Perm())
	}
	l, signedIn, err := store.get(d.app.apiURL())
	switch {
	case err != nil:
		d.fail(check, d.app.hint(err), "%s", message(err))
	case !signedIn:
		d.warn(check, "stark auth login", "no sign-in for %s", d.app.apiURL())
	default:
		d.token = l.AccessToken
		d.ok(check, "signed in at %s as %s", d.app.apiURL(), l.Email)
	}
}

// server checks the server that the commands talk to, and whether it has the same
// time as this machine.
func (d *doctor) server(ctx context.Context) {
	const check = "server"
	c, err := d.app.anonymous()
	if err != nil {
		d.fail(check, "correct the address: --api-url, STARK_API_URL or `stark config`", "%s", message(err))
		return
	}
	before := time.Now()
	health, err := c.Health(ctx)
	if err != nil {
		d.fail(check, "start one with `stark dev` or `stark server start`, or name another with --api-url", "%s does not answer: %s", d.app.apiURL(), message(err))
		return
	}
	var down []string
	checks, _ := health["checks"].(map[string]any)
	for name, v := range checks {
		if part, _ := v.(map[string]any); part["status"] != "up" {
			down = append(down, name)
		}
	}
	slices.Sort(down)
	switch {
	case len(down) > 0:
		d.fail(check, "see the findings below, run this on the server's machine with its environment, or read its log", "%s is %v: %s", d.app.apiURL(), health["status"], strings.Join(down, ", "))
	default:
		d.ok(check, "%s is %v, version %v", d.app.apiURL(), health["status"], health["version"])
	}
	if text, isText := health["timestamp"].(string); isText {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			d.skew("server clock", at, before)
		}
	}
}

// skew compares a clock that was read between before and now with our own.
func (d *doctor) skew(check string, at, before time.Time) {
	const fix = "synchronize the clocks (NTP): tokens and signed addresses depend on them"
	off := at.Sub(before.Add(time.Since(before) / 2)).Abs()
	told := fmt.Sprintf("%s off this machine's", off.Round(time.Millisecond))
	switch {
	case off > skewFailure:
		d.fail(check, fix, "%s", told)
	case off > skewWarning:
		d.warn(check, fix, "%s", told)
	default:
		d.ok(check, "%s", told)
	}
}
