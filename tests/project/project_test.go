package project

import (
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A project that the environment names is used, emptied where that is allowed, and
// still there when the tests are done with it.
func TestTheSupabaseThatIsNamed(t *testing.T) {
	if p, found, err := named(); found || err != nil {
		t.Skipf("the tests run against %s, which this one would empty", p.URL)
	}
	there := New(t)
	count := func() (n int) {
		t.Helper()
		if err := there.on(t.Context(), func(conn *pgx.Conn) error {
			return conn.QueryRow(t.Context(), "select count(*) from public.users").Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	leave := func() {
		t.Helper()
		if err := there.on(t.Context(), func(conn *pgx.Conn) error {
			_, err := conn.Exec(t.Context(), "insert into auth.users (id, email) values (gen_random_uuid(), 'left@example.com')")
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	for name, value := range map[string]string{
		envURL: there.URL, envAnon: there.AnonKey, envService: there.ServiceRoleKey, envDatabase: "", envJWTSecret: there.JWTSecret, envReset: "",
	} {
		t.Setenv(name, value)
	}
	if _, err := Start(t.Context()); err == nil {
		t.Error("a project without its database was taken")
	}
	t.Setenv(envDatabase, there.DBURL)
	for left, reset := range []string{"true", ""} { // an account stays where nothing may be removed
		if left == 1 {
			leave()
		}
		t.Setenv(envReset, reset)
		p, err := Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.URL != there.URL {
			t.Errorf("got %s, want %s", p.URL, there.URL)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := count(); n != left {
			t.Errorf("reset %q leaves %d accounts, want %d", reset, n, left)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, there.URL+"/auth/v1/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("apikey", there.AnonKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the project answers %d after the tests", resp.StatusCode)
	}
}
