package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

// poolerSize is how many connections the pooler has to Postgres: fewer than its
// clients, so that transactions of one client land on different ones.
const poolerSize = 3

// transactionPooler starts PgBouncer in transaction mode before the database and
// gives the address through it. It knows our start-up parameters as little as
// Supabase's does.
func transactionPooler(t *testing.T, address string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("not tried behind a transaction pooler: pgbouncer is not installed (apt-get install pgbouncer)")
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	port := freePort(t)
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = %d
max_client_conn = 100
`, u.Hostname(), u.Port(), port, users, poolerSize)
	for path, text := range map[string]string{users: strconv.Quote(u.User.Username()) + " " + strconv.Quote(password) + "\n", filepath.Join(dir, "ini"): config} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // another account reads them, and the password is the tests' own
			t.Fatal(err)
		}
	}
	runPooler(t, exec.CommandContext(t.Context(), program, asNobody(t, dir, filepath.Join(dir, "ini"))...))
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return u.String()
}

// asNobody gives the arguments, with another account where root runs the tests:
// PgBouncer refuses root.
func asNobody(t *testing.T, dir, config string) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		return []string{config}
	}
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // see above
			t.Fatal(err)
		}
	}
	return []string{"-u", "nobody", config}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// runPooler waits until the pooler is up, and ends it after the test.
func runPooler(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = patience
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	var said bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		waiting := true
		for lines := bufio.NewScanner(out); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			if waiting && strings.Contains(lines.Text(), "process up") {
				waiting = false
				close(up)
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		<-read
		_ = cmd.Wait()
	})
	select {
	case <-up:
	case <-read:
		t.Fatalf("pgbouncer has ended: %s", said.String())
	case <-time.After(patience):
		t.Fatal("pgbouncer does not start")
	}
}

type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// Everything goes through the pooler, LISTEN too: the server finds out, polls, and
// its feed misses nothing.
func TestThroughATransactionPooler(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := transactionPooler(t, w.at.URL)
	log := &lockedLog{}
	logger := loggingtest.NewTo(t, log).Logger
	here := open(t, postgres.Config{URL: address, PoolSize: 8, Logger: logger, ServerID: "here"})
	there := open(t, postgres.Config{URL: address + "&default_query_exec_mode=exec", PoolSize: 8, ServerID: "there"})
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	model := store.New()
	follow(t, here, model)

	const writers, each = 12, 5
	var made errgroup.Group
	for n := range writers {
		db := map[bool]*postgres.DB{true: here, false: there}[n%2 == 0]
		made.Go(func() error {
			for range each {
				p, err := db.CreatePod(t.Context(), ann, api.CreatePodRequest{PackID: k.ID})
				if err != nil {
					return err
				}
				if _, err := db.GetPod(t.Context(), ann, p.ID); err != nil {
					return err
				}
				if _, err := db.ListPods(t.Context(), ann, api.PodQuery{Namespace: "default"}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := made.Wait(); err != nil {
		t.Fatal(err)
	}
	await(t, "all pods in the read model", func() bool { return model.Pods.Snapshot().Len() == writers*each })
	await(t, "the word that LISTEN cannot work", func() bool { return log.has("polling for changes") })
	last := must(there.CreatePod(t.Context(), ann, api.CreatePodRequest{PackID: k.ID}))(t)
	await(t, "a change by polling", func() bool { _, found := model.Pods.Snapshot().Get(last.ID); return found })
	if !log.has("a pooler stands before Postgres") {
		t.Error("the pooler was not told")
	}
	b := must(here.Budget(t.Context()))(t)
	if !b.Pooled || b.Wanted != 9 || len(b.Messages) != 0 {
		t.Errorf("budget %+v", b)
	}
	// Settings of a transaction do not stay on the pooler's connections.
	for range 2 * poolerSize {
		leak := ""
		if err := connect(t, address+"&default_query_exec_mode=exec").QueryRow(t.Context(),
			"select current_user || coalesce(nullif(current_setting('request.jwt.claims', true), ''), '')").Scan(&leak); err != nil || leak != "stark_server" {
			t.Fatalf("a later client is %q, %v", leak, err)
		}
	}
}

// Queries go through the pooler, LISTEN does not: nothing is polled.
func TestListenBesideATransactionPooler(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := &lockedLog{}
	db := open(t, postgres.Config{
		URL: transactionPooler(t, w.at.URL), ListenURL: w.at.URL, Logger: loggingtest.NewTo(t, log).Logger,
	})
	model := store.New()
	follow(t, db, model)
	await(t, "the LISTEN connection", func() bool {
		return value[int](t, w, "select count(*) from pg_stat_activity where application_name = 'stark-feed' and datname = current_database()") > 0
	})
	ann := w.user(t, api.RoleDeveloper) // by somebody else, so that a trigger tells
	await(t, "the user", func() bool { _, found := model.Users.Snapshot().Get(ann.UserID); return found })
	if log.has("polling") {
		t.Error("it polls")
	}
}

// follow keeps a read model fed until the test ends, and waits for the first fill.
func follow(t *testing.T, db *postgres.DB, model *store.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = db.Feed(ctx, model.Apply) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-model.Synced():
	case <-time.After(patience):
		t.Fatal("the read model is not filled")
	}
}

// await looks until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not come", what)
		}
	}
}
