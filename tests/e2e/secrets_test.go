package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// secretRun is one development cluster at level debug, everything that was secret
// in it, and everything that it and its tools have written to people and logs.
type secretRun struct {
	t       *testing.T
	dir     string
	ready   map[string]any
	secrets map[string]string // by what they are
	written map[string]string // by who wrote it
}

// shortest keeps words that are no secrets out of the search.
const shortest = 12

func (r *secretRun) secret(what, value string) {
	r.t.Helper()
	if len(value) < shortest {
		r.t.Fatalf("%s is too short to be searched for", what)
	}
	r.secrets[what] = value
	if parts := strings.Split(value, "."); strings.HasPrefix(value, "eyJ") && len(parts) == 3 {
		r.secrets["signature of "+what] = parts[2]
	}
}

// secretsOf takes all texts of a JSON file under the names.
func (r *secretRun) secretsOf(path string, names ...string) {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, path))
	if err != nil {
		r.t.Fatal(err)
	}
	var content any
	if err := json.Unmarshal(data, &content); err != nil {
		r.t.Fatal(err)
	}
	found := 0
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				walk(key, inner)
			}
		case string:
			if slices.Contains(names, name) {
				found++
				r.secret(name+" of "+path, v)
			}
		}
	}
	walk("", content)
	if found < len(names) {
		r.t.Fatalf("%s holds %d of %v", path, found, names)
	}
}

// cli runs a command at level debug; what it answers with is not searched where the
// answer is the secret.
func (r *secretRun) cli(code int, stdin, home string, args ...string) string {
	r.t.Helper()
	got, err := harness.Run(r.t.Context(), harness.Spec{
		Name: "stark", Path: stark, Args: args, Dir: r.dir,
		Env: []string{"STARK_HOME=" + filepath.Join(r.dir, home), "STARK_API_URL=" + r.ready["apiUrl"].(string), "STARK_LOG_LEVEL=debug"},
	}, stdin)
	if err != nil || got.Code != code {
		r.t.Fatalf("stark %v: %d, %v, %s", args, got.Code, err, got.Stderr)
	}
	name := strings.Join(args[:min(2, len(args))], " ")
	r.written["stderr of "+name] += got.Stderr
	if name != "node token" {
		r.written["stdout of "+name] += got.Stdout
	}
	return got.Stdout
}

// forms are how a secret may stand in a text: as it is, escaped, or anywhere within
// something that was encoded as base64.
func forms(secret string) []string {
	out := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for shift := range 3 {
			text := enc.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
			const group = 4 // characters that the neighbours have a part in
			first := map[int]int{0: 0, 1: 2, 2: 3}[shift]
			out = append(out, text[first:len(text)-group])
		}
	}
	return out
}

// searchForSecrets looks at everything that the processes of a cluster have written,
// whatever the test made them do.
func (c *cluster) searchForSecrets() {
	c.t.Helper()
	for what, secret := range c.Secrets() {
		if len(secret) < shortest {
			c.t.Errorf("%s is too short to be searched for", what)
			continue
		}
		for _, text := range c.Outputs() {
			for _, form := range forms(secret) {
				if strings.Contains(text, form) {
					c.t.Errorf("the output of a process holds %s", what)
					break
				}
			}
		}
	}
}

func (r *secretRun) search() {
	r.t.Helper()
	for who, text := range r.written {
		for what, secret := range r.secrets {
			for _, form := range forms(secret) {
				if strings.Contains(text, form) {
					r.t.Errorf("%s holds %s", who, what)
					break
				}
			}
		}
	}
}

func startSecretRun(t *testing.T) *secretRun {
	t.Helper()
	r := &secretRun{t: t, dir: t.TempDir(), secrets: map[string]string{}, written: map[string]string{}}
	steps := make(chan map[string]any, 100)
	p, err := harness.Launch(harness.Spec{
		Name: "dev", Path: stark, Dir: r.dir, Out: &stepLines{steps: steps},
		Args: []string{"dev", "--json", "--dir", filepath.Join(r.dir, "state"), "--port", "0", "--supabase-port", "0"},
		Env:  []string{"STARK_HOME=" + filepath.Join(r.dir, "home"), "STARK_LOG_LEVEL=debug"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-p.Done():
		default:
			p.Kill()
		}
	})
	d := &devRun{p, steps}
	r.ready = d.ready(t)
	t.Cleanup(func() { // before the kill: everything that ending writes counts
		if err := p.Stop(patience); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"dev.log", "postgres.log"} {
			text, err := os.ReadFile(filepath.Join(r.dir, "state", name))
			if err != nil {
				t.Error(err)
			}
			r.written[name] = string(text)
		}
		if !strings.Contains(r.written["dev.log"], `"level":"DEBUG"`) || !strings.Contains(r.written["dev.log"], "/auth/login") {
			t.Error("dev.log is not that of a run at level debug")
		}
		r.search()
	})
	return r
}

// X-18, on real processes: whatever happens, no secret stands in any log or message.
func TestNoSecretIsWritten(t *testing.T) {
	t.Parallel()
	r := startSecretRun(t)
	const password, wrong, hidden = "Never-Tell-This-1", "Wrong-Guess-Of-It-2", "value-of-a-variable-9"
	for what, value := range map[string]string{"a password": password, "a wrong password": wrong, "a variable of a pod": hidden} {
		r.secret(what, value)
	}
	r.secretsOf("state/keys.json", "jwtSecret", "anonKey", "serviceRoleKey", "publishableKey", "secretKey", "privateKey")
	r.secretsOf("state/dev-admin.json", "password")
	r.secretsOf("home/credentials.json", "accessToken", "refreshToken")

	r.cli(0, password+"\n", "home", "user", "create", "--email", "dev@example.com", "--role", "developer", "--password-stdin")
	r.cli(4, wrong+"\n", "dev", "auth", "login", "--email", "dev@example.com", "--password-stdin")
	r.cli(0, password+"\n", "dev", "auth", "login", "--email", "dev@example.com", "--password-stdin")
	r.secretsOf("dev/credentials.json", "accessToken", "refreshToken")
	r.cli(4, password+"\n", "stranger", "auth", "register", "--email", "new@example.com", "--password-stdin")
	r.cli(0, "", "home", "user", "role", "add", "dev@example.com", "operator")
	r.cli(0, "", "dev", "pod", "create", "hello", "--env", "WORD="+hidden, "--wait")
	r.cli(0, "", "dev", "status")
	r.cli(0, "", "dev", "doctor")
	r.agent(r.cli(0, "", "home", "node", "token", "create", "-o", "json"))
	r.strangers()
	r.cli(0, "", "home", "user", "disable", "dev@example.com")
	r.cli(4, "", "dev", "node", "list")
	r.cli(4, password+"\n", "dev", "auth", "login", "--email", "dev@example.com", "--password-stdin")
	r.cli(0, "", "home", "auth", "logout")
}

// agent lets a second node join by a token, and ends it.
func (r *secretRun) agent(answer string) {
	r.t.Helper()
	var token api.JoinToken
	if err := json.Unmarshal([]byte(answer), &token); err != nil {
		r.t.Fatal(err)
	}
	r.secret("a join token", token.Token)
	p, err := harness.Launch(harness.Spec{
		Name: "agent", Path: stark, Dir: r.dir,
		Args: []string{"node", "agent", "start", "--url", r.ready["apiUrl"].(string), "--name", "second", "--warm-pool", "0", "--state-dir", filepath.Join(r.dir, "second")},
		Env:  []string{"STARK_HOME=" + filepath.Join(r.dir, "agent"), "STARK_JOIN_TOKEN=" + token.Token, "STARK_LOG_LEVEL=debug"},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if err := until(ctx, func() bool { return strings.Contains(p.Output(), "registered") }); err != nil {
		r.t.Errorf("the agent does not register: %s", p.Output())
	}
	if err := p.Stop(patience); err != nil {
		r.t.Error(err)
	}
	r.written["the agent"] = p.Output()
	r.secretsOf("second/state/identity", "credential")
}

// strangers make requests that fail with secrets in all places where people put
// them by mistake, at Stark and at Supabase.
func (r *secretRun) strangers() {
	r.t.Helper()
	token := r.secrets["accessToken of dev/credentials.json"]
	for _, base := range []string{r.ready["apiUrl"].(string), r.ready["supabaseUrl"].(string)} {
		for _, path := range []string{
			"/api/pods?access_token=" + token, "/ws?token=" + token, "/nowhere?apikey=" + r.secrets["serviceRoleKey of state/keys.json"],
			"/auth/v1/user?apikey=" + r.secrets["anonKey of state/keys.json"], "/storage/v1/object/pack-bundles/a?token=" + token, "/rest/v1/pods?select=" + token,
		} {
			req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, base+path, nil)
			if err != nil {
				r.t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token+"x")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				r.t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	}
}

// until looks until something holds or ctx ends.
func until(ctx context.Context, holds func() bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func TestSecretsAreFoundInAllForms(t *testing.T) {
	t.Parallel()
	const secret = "tell+nobody/about this?"
	for _, text := range []string{
		"x" + secret + "y", "?token=" + url.QueryEscape(secret) + "&a=b", "/" + url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte("a:" + secret + ", and so on")), base64.RawURLEncoding.EncodeToString([]byte(`{"a":"` + secret + `"}`)),
		base64.StdEncoding.EncodeToString([]byte(secret)),
	} {
		if !slices.ContainsFunc(forms(secret), func(form string) bool { return strings.Contains(text, form) }) {
			t.Errorf("not found in %s", text)
		}
	}
}
