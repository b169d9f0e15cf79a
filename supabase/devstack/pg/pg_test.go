//go:build unix

package pg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// query runs one statement as role postgres over TCP and returns its only value as text.
func query(t *testing.T, s *Server, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var value string
	if err := conn.QueryRow(t.Context(), sql, pgx.QueryExecModeSimpleProtocol).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// keepRow writes the row that later starts look for.
func keepRow(t *testing.T, s *Server) {
	t.Helper()
	conn, err := s.Connect(t.Context(), "postgres", "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "create table public.kept as select 42 as x"); err != nil {
		t.Fatal(err)
	}
}

func waitGone(t *testing.T, s *Server) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Fatal("the server is still there")
	}
}

func TestStartMakesASupabaseDatabase(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	for sql, want := range map[string]string{
		"select current_user::text":                                                "postgres",
		"select rolsuper::text from pg_roles where rolname = 'postgres'":           "false",
		"select rolbypassrls::text from pg_roles where rolname = 'service_role'":   "true",
		"select count(*)::text from auth.users":                                    "0",
		"select coalesce(auth.uid()::text, 'nobody')":                              "nobody",
		"select array_to_string(storage.foldername('a/b/c.txt'), ',')":             "a,b",
		"select has_table_privilege('anon', 'storage.objects', 'select')::text":    "true",
		"select has_table_privilege('service_role', 'auth.users', 'select')::text": "false",
		"select current_setting('fsync')":                                          "off",
		"select length(gen_salt('bf'))::text":                                      "29",
	} {
		if got := query(t, s, sql); got != want {
			t.Errorf("%s = %q, want %q", sql, got, want)
		}
	}
	if !s.FirstStart || s.PID() == 0 || s.Port == 0 {
		t.Errorf("FirstStart %v, PID %d, Port %d", s.FirstStart, s.PID(), s.Port)
	}
}

func TestDirectDeletesOfObjectsAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	conn, err := s.Connect(t.Context(), "postgres", "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "insert into storage.buckets (id, name) values ('b', 'b')"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "delete from storage.buckets"); err == nil {
		t.Error("a plain DELETE went through")
	}
	_, err = conn.Exec(t.Context(), "begin; set local storage.allow_delete_query = 'true'; delete from storage.buckets; commit")
	if err != nil {
		t.Errorf("the service's own DELETE: %v", err)
	}
}

func TestPrepareRunsOncePerKey(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	o := Options{CacheDir: t.TempDir(), Key: "v1", Prepare: func(ctx context.Context, conn *pgx.Conn) error {
		calls.Add(1)
		_, err := conn.Exec(ctx, "create table public.made (x int)")
		return err
	}}
	for range 2 {
		s := start(t, o)
		if got := query(t, s, "select tableowner::text from pg_tables where tablename = 'made'"); got != "postgres" {
			t.Errorf("owner of the table = %q, want postgres", got)
		}
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("Prepare ran %d times, want 1", got)
	}
}

func TestAFailedPrepareLeavesNothing(t *testing.T) {
	t.Parallel()
	dir, cause := t.TempDir(), errors.New("no such luck")
	_, err := Start(t.Context(), Options{
		Dir: dir, CacheDir: t.TempDir(),
		Prepare: func(context.Context, *pgx.Conn) error { return cause },
	})
	if !errors.Is(err, cause) {
		t.Fatalf("Start = %v, want the cause", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock is still there: %v", err)
	}
}

func TestDataAndLockOverRestarts(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), Durable: true}
	first := start(t, o)
	keepRow(t, first)
	_, err := Start(t.Context(), o)
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("a second start = %v, want a LockedError", err)
	}
	if !strings.Contains(locked.Error(), "process ") {
		t.Errorf("the error does not name the holder: %v", locked)
	}
	stop(t, first)
	waitGone(t, first)
	second := start(t, o)
	if got := query(t, second, "select x::text from public.kept"); got != "42" {
		t.Errorf("kept = %q, want 42", got)
	}
	if second.FirstStart {
		t.Error("FirstStart on the second start")
	}
	if got := query(t, second, "select current_setting('fsync')"); got != "on" {
		t.Errorf("fsync = %s, want on", got)
	}
}

func TestKilledServerComesBack(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir()}
	first := start(t, o)
	keepRow(t, first)
	if err := syscall.Kill(first.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, first)
	stop(t, first)
	second := start(t, o)
	if got := query(t, second, "select x::text from public.kept"); got != "42" {
		t.Errorf("kept = %q, want 42", got)
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Restart: true})
	keepRow(t, s)
	for range 2 {
		old := s.PID()
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for s.PID() == old {
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				t.Fatal("the server does not come back")
			}
		}
		if got := query(t, s, "select x::text from public.kept"); got != "42" {
			t.Errorf("kept = %q, want 42", got)
		}
	}
	stop(t, s)
	waitGone(t, s)
}

func TestRestartSlowsDown(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Restart: true})
	var began time.Time
	for range restartMost + 1 {
		old := s.PID()
		began = time.Now()
		_ = syscall.Kill(old, syscall.SIGKILL)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for s.PID() == old {
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				t.Fatal("the server does not come back")
			}
		}
	}
	if waited := time.Since(began); waited < restartDelay {
		t.Errorf("the last restart came after %s, want %s at least", waited, restartDelay)
	}
	select {
	case <-s.Done():
		t.Error("the server was given up")
	default:
	}
}

// TestKilledParent plays both parts: started anew with a folder in its environment it starts a server there
// and waits to be killed.
func TestKilledParent(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("STARK_TEST_KILLED_PARENT"); dir != "" {
		s, err := Start(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		keepRow(t, s)
		fmt.Fprintln(os.Stdout, "ready")
		<-s.Done()
		return
	}
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledParent$")
	child.Env = append(os.Environ(), "STARK_TEST_KILLED_PARENT="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	s := start(t, Options{Dir: dir})
	if got := query(t, s, "select x::text from public.kept"); got != "42" {
		t.Errorf("kept = %q, want 42", got)
	}
}

func TestAClosedFolderGetsItsDataElsewhere(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs Postgres under another account")
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: filepath.Join(closed, ".stark")}
	first := start(t, o)
	home := filepath.Dir(first.DataDir)
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	if strings.HasPrefix(first.DataDir, closed) {
		t.Errorf("the data is in %s, which Postgres cannot reach", first.DataDir)
	}
	recorded, err := os.ReadFile(filepath.Join(o.Dir, pointer))
	if err != nil || strings.TrimSpace(string(recorded)) != home {
		t.Errorf("recorded %q, %v; want %s", recorded, err, home)
	}
	keepRow(t, first)
	stop(t, first)
	if got := query(t, start(t, o), "select x::text from public.kept"); got != "42" {
		t.Errorf("kept = %q, want 42", got)
	}
}

func TestTakenPorts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	if _, err := Start(t.Context(), Options{Port: port, ExactPort: true}); err == nil {
		t.Error("an exact start on a taken port worked")
	}
	s := start(t, Options{Port: port})
	if s.Port == port {
		t.Error("the server claims a port that is taken")
	}
}
