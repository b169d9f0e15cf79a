//go:build unix

package devstack_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/supabase/devstack"
)

// A Postgres that is frozen keeps its connections and says nothing. Whoever waits
// for it hears so, long before the limit of any request, and is served again when it
// goes on.
func TestAFrozenPostgresIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := start(t, devstack.Options{})
	calls := []struct {
		name, method, path, body string
		well                     int
	}{
		{"auth", "POST", "/auth/v1/token?grant_type=password", `{"email":"a@example.org","password":"Passw0rdPassw0rd"}`, http.StatusBadRequest},
		{"auth, admin", "GET", "/auth/v1/admin/users", "", http.StatusOK},
		{"storage", "POST", "/storage/v1/object/list/none", `{"prefix":""}`, http.StatusOK},
		{"tables", "GET", "/rest/v1/none", "", http.StatusNotFound},
		{"functions", "POST", "/rest/v1/rpc/none", "{}", http.StatusNotFound},
	}
	status := func(method, path, body string) int {
		got, _ := call(t, method, s.URL+path, body, "apikey", s.SecretKey, "Content-Type", "application/json")
		return got
	}
	for _, c := range calls {
		if got := status(c.method, c.path, c.body); got != c.well {
			t.Errorf("%s: %d, want %d", c.name, got, c.well)
		}
	}
	thaw := freeze(t, s)
	answers := make(chan string, len(calls))
	for _, c := range calls {
		go func() {
			if got := status(c.method, c.path, c.body); got != http.StatusGatewayTimeout {
				t.Errorf("%s, frozen: %d, want 504", c.name, got)
			}
			answers <- c.name
		}()
	}
	// Without the watch they would take the 30 s of a request, and storage for ever.
	soon := time.After(20 * time.Second)
	for range calls {
		select {
		case <-answers:
		case <-soon:
			t.Error("somebody waits still")
		}
	}
	thaw()
	for _, c := range calls {
		if got := status(c.method, c.path, c.body); got != c.well {
			t.Errorf("%s, thawed: %d, want %d", c.name, got, c.well)
		}
	}
}

// freeze stops every process of Postgres; thaw lets them go on.
func freeze(t *testing.T, s *devstack.Stack) (thaw func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DBURL)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), "select pid from pg_stat_activity where pid <> pg_backend_pid()")
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil || conn.Close(t.Context()) != nil {
		t.Fatal(err)
	}
	pids = append(pids, s.Postgres.PID())
	send := func(signal syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, signal) // one that has ended needs no signal
		}
	}
	thaw = func() { send(syscall.SIGCONT) }
	t.Cleanup(thaw)
	send(syscall.SIGSTOP)
	return thaw
}
