package cli

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/cli/local"
)

// patientEnv is that of somebody who is signed in at the shared cluster and has the
// variables of its project.
func patientEnv(t *testing.T) (map[string]string, *local.Cluster) {
	t.Helper()
	c, err := shared.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"STARK_HOME": t.TempDir(), "STARK_API_URL": c.URL, "SUPABASE_URL": c.Project.URL, "SUPABASE_ANON_KEY": c.Project.AnonKey,
		"SUPABASE_SERVICE_ROLE_KEY": c.Project.ServiceRoleKey, "DATABASE_URL": c.Project.DBURL,
	}
	if err := home(env["STARK_HOME"]).credentials().put(t.Context(), c.URL, c.Session); err != nil {
		t.Fatal(err)
	}
	return env, c
}

// examine runs the doctor and gives the findings by check, the worst of each.
func examine(t *testing.T, env map[string]string, code int, args ...string) map[string]finding {
	t.Helper()
	got := run(t, env, "", append([]string{"doctor", "-o", "json"}, args...)...)
	var list []finding
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil {
		t.Fatalf("%v in %+v", err, got)
	}
	if got.code != code {
		t.Errorf("exit code %d, want %d: %s", got.code, code, got.stdout)
	}
	for _, secret := range []string{env["SUPABASE_SERVICE_ROLE_KEY"], env["SUPABASE_ANON_KEY"], "pass-word"} {
		if secret != "" && strings.Contains(got.stdout+got.stderr, secret) {
			t.Errorf("the doctor shows a secret: %s", got.stdout)
		}
	}
	rank := []findingStatus{findingOK, findingSkipped, findingWarning, findingFailed}
	out := map[string]finding{}
	for _, f := range list {
		if f.Status != findingOK && f.Fix == "" {
			t.Errorf("no fix for %+v", f)
		}
		if old, seen := out[f.Check]; !seen || slices.Index(rank, f.Status) > slices.Index(rank, old.Status) {
			out[f.Check] = f
		}
	}
	return out
}

func TestDoctorOnAHealthyCluster(t *testing.T) {
	t.Parallel()
	env, _ := patientEnv(t)
	got := examine(t, env, 0)
	for _, check := range []string{
		"node", "credentials", "server", "server clock", "settings", "auth", "secret key", "signing keys", "token hook", "bucket",
		"postgres", "database clock", "login", "migrations", "hook function", "listen", "connections",
	} {
		if f, found := got[check]; !found || f.Status != findingOK {
			t.Errorf("%s: %+v", check, f)
		}
	}
	text := run(t, env, "", "doctor")
	if text.code != 0 || !strings.Contains(text.stdout, "[ok     ] listen") || !strings.Contains(text.stdout, " 0 failed, 0 skipped") {
		t.Errorf("as text: %+v", text)
	}
	alone := examine(t, map[string]string{"STARK_HOME": t.TempDir(), "STARK_API_URL": env["STARK_API_URL"]}, 0)
	if alone["settings"].Status != findingSkipped || alone["credentials"].Status == findingFailed {
		t.Errorf("without a project: %+v", alone)
	}
}

// emptyDatabase makes one beside that of the cluster, with its roles and nothing else.
func emptyDatabase(t *testing.T, address string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "create database empty template template1"); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/empty"
	return u.String()
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	healthy, c := patientEnv(t)
	bare := emptyDatabase(t, c.Project.DBURL)
	open := filepath.Join(t.TempDir(), "home")
	if err := home(open).credentials().put(t.Context(), c.URL, c.Session); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(open, credentialsFile), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		env   map[string]string
		check string
		want  findingStatus
		text  string // in message and fix
	}{
		"no server":           {map[string]string{"STARK_API_URL": "http://127.0.0.1:1"}, "server", findingFailed, "stark server start"},
		"an open file":        {map[string]string{"STARK_HOME": open}, "credentials", findingFailed, "chmod 600"},
		"a wrong variable":    {map[string]string{"STARK_PORT": "x"}, "settings", findingFailed, "STARK_PORT"},
		"a wrong public key":  {map[string]string{"SUPABASE_ANON_KEY": "sb_publishable_wrong"}, "auth", findingFailed, "SUPABASE_ANON_KEY"},
		"a wrong secret key":  {map[string]string{"SUPABASE_SERVICE_ROLE_KEY": "sb_secret_wrong"}, "secret key", findingFailed, "SUPABASE_SERVICE_ROLE_KEY"},
		"no project":          {map[string]string{"SUPABASE_URL": "http://127.0.0.1:1"}, "bucket", findingFailed, "SUPABASE_URL"},
		"no database":         {map[string]string{"DATABASE_URL": "postgres://me:pass-word@127.0.0.1:1/none"}, "postgres", findingFailed, "IPv6"},
		"no migrations":       {map[string]string{"DATABASE_URL": bare}, "migrations", findingFailed, "supabase db push"},
		"no hook function":    {map[string]string{"DATABASE_URL": bare}, "hook function", findingFailed, "migrations"},
		"a pool too large":    {map[string]string{"STARK_DATABASE_POOL_SIZE": "500"}, "connections", findingFailed, "STARK_DATABASE_POOL_SIZE"},
		"LISTEN that is deaf": {map[string]string{"STARK_LISTEN_DATABASE_URL": bare}, "listen", findingWarning, "STARK_LISTEN_DATABASE_URL"},
		"another project":     {map[string]string{"STARK_JWT_ISSUER": "https://other.example/auth/v1"}, "token hook", findingSkipped, "stark auth login"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := maps.Clone(healthy)
			maps.Copy(env, test.env)
			code := map[bool]int{true: 1, false: 0}[test.want == findingFailed]
			f := examine(t, env, code)[test.check]
			if f.Status != test.want || !strings.Contains(f.Message+" "+f.Fix, test.text) {
				t.Errorf("%s: %+v, want %s and %q", test.check, f, test.want, test.text)
			}
		})
	}
}

// What no stack of ours does: a public bucket, no bucket, no signing keys, a hook
// that is off, and a clock that is wrong.
func TestDoctorOnAnOddProject(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/auth/v1/settings": `{"disable_signup":true}`, "/auth/v1/admin/users": `{"users":[]}`, "/auth/v1/.well-known/jwks.json": `{"keys":[]}`,
		"/storage/v1/bucket/pack-bundles": `{"public":true}`, "/health": `{"status":"degraded","timestamp":"2020-01-01T00:00:00Z","checks":{"auth":{"status":"down"}}}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, found := answers[r.URL.Path]
		if !found {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(s.Close)
	env, c := patientEnv(t)
	env["STARK_API_URL"], env["SUPABASE_URL"] = s.URL, s.URL
	session := c.Session
	session.AccessToken = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln" // {"iss":"x"}
	env["STARK_JWT_ISSUER"] = "x"
	if err := home(env["STARK_HOME"]).credentials().put(t.Context(), s.URL, session); err != nil {
		t.Fatal(err)
	}
	got := examine(t, env, 1)
	for check, want := range map[string]string{
		"bucket": "is public", "signing keys": "SUPABASE_JWT_SECRET", "token hook": "custom_access_token_hook", "server clock": "NTP", "server": "auth",
	} {
		if f := got[check]; f.Status != findingFailed || !strings.Contains(f.Message+" "+f.Fix, want) {
			t.Errorf("%s: %+v, want %q", check, f, want)
		}
	}
	delete(answers, "/storage/v1/bucket/pack-bundles")
	env["SUPABASE_JWT_SECRET"] = strings.Repeat("s", 32)
	got = examine(t, env, 1)
	if f := got["bucket"]; f.Status != findingFailed || !strings.Contains(f.Message, "no bucket") {
		t.Errorf("without a bucket: %+v", f)
	}
	if f := got["signing keys"]; f.Status != findingOK {
		t.Errorf("with the secret: %+v", f)
	}
}

func TestSkewIsJudged(t *testing.T) {
	t.Parallel()
	for off, want := range map[time.Duration]findingStatus{
		0: findingOK, -time.Second: findingOK, 5 * time.Second: findingWarning, -5 * time.Second: findingWarning, time.Minute: findingFailed,
	} {
		d := &doctor{report: func(finding) {}}
		now := time.Now()
		d.skew("clock", now.Add(off), now)
		if got := d.findings[0].Status; got != want {
			t.Errorf("%s off: %s, want %s", off, got, want)
		}
	}
}
