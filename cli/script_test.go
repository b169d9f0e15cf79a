package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stark-orchestrator/stark/cli/local"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/supabase/devstack"
)

// asStark makes the test binary behave as the program, for tests with several
// processes.
const asStark = "STARK_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asStark) != "" {
		os.Exit(Run(context.Background(), os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
	}
	code := m.Run()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, "close the cluster:", err)
		code = 1
	}
	os.Exit(code)
}

// testCluster is one real cluster for the tests that share one, started by the first.
type testCluster struct {
	once    sync.Once
	dir     string
	cluster *local.Cluster
	end     func() error // says whether the log of the cluster held secrets
	err     error
}

var shared testCluster

func (c *testCluster) get(ctx context.Context) (*local.Cluster, error) {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		if c.dir, c.err = os.MkdirTemp("", "stark-cli-"); c.err != nil {
			return
		}
		var log *loggingtest.Log
		log, c.end = loggingtest.Shared(os.Stderr)
		c.cluster, c.err = local.Start(ctx, local.Options{Dir: c.dir, NodeName: "node-1", Version: "test", Logger: log.Logger, PasswordCost: devstack.LeastPasswordCost})
		if c.err == nil {
			log.Secret(c.cluster.Project.AnonKey, c.cluster.Project.ServiceRoleKey, c.cluster.Project.JWTSecret, c.cluster.Session.AccessToken, c.cluster.Session.RefreshToken)
		}
	})
	return c.cluster, c.err
}

func (c *testCluster) close() error {
	if c.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(c.cluster.Close(ctx), c.end()); err != nil {
			return err
		}
	}
	return os.RemoveAll(c.dir)
}

// result is what a command has left.
type result struct {
	code           int
	stdout, stderr string
}

// run runs one command in this process.
func run(t *testing.T, env map[string]string, stdin string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := Run(t.Context(), args, func(k string) string { return env[k] }, strings.NewReader(stdin), &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("STARK_HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("STARK_API_URL", "http://127.0.0.1:1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"stark": scriptStark, "cluster": scriptCluster, "capture": scriptCapture, "prefix": scriptPrefix, "mode": scriptMode,
			"eventually": scriptEventually,
		},
	})
}

// scriptStark runs a command in this process: stark [code=N] [<file] args... With
// "!" any code but 0 is right. Paths must be absolute.
func scriptStark(ts *testscript.TestScript, neg bool, args []string) {
	want, stdin := 0, io.Reader(strings.NewReader(""))
	for len(args) > 0 {
		if text, ok := strings.CutPrefix(args[0], "code="); ok {
			n, err := strconv.Atoi(text)
			ts.Check(err)
			want = n
		} else if name, ok := strings.CutPrefix(args[0], "<"); ok {
			stdin = strings.NewReader(ts.ReadFile(name))
		} else {
			break
		}
		args = args[1:]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	code := Run(ctx, args, ts.Getenv, stdin, ts.Stdout(), ts.Stderr())
	if neg && code == 0 || !neg && code != want {
		ts.Fatalf("exit code %d of stark %s", code, strings.Join(args, " "))
	}
}

// scriptEventually runs a command until its output has the text: eventually TEXT args...
func scriptEventually(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		var out bytes.Buffer
		Run(ctx, args[1:], ts.Getenv, strings.NewReader(""), &out, &out)
		if strings.Contains(out.String(), args[0]) {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			ts.Fatalf("never %q, at last: %s", args[0], out.String())
		}
	}
}

// scriptCluster starts a cluster for the script alone, and signs its admin in.
func scriptCluster(ts *testscript.TestScript, _ bool, _ []string) {
	var c testCluster
	cluster, err := c.get(context.Background())
	ts.Defer(func() { ts.Check(c.close()) })
	ts.Check(err)
	ts.Setenv("STARK_API_URL", cluster.URL)
	ts.Setenv("STARK_EMAIL", cluster.Email)
	ts.Setenv("STARK_PASSWORD", cluster.Password)
	h := home(ts.Getenv("STARK_HOME"))
	ts.Check(h.credentials().put(context.Background(), cluster.URL, cluster.Session))
}

// scriptCapture puts the last field of the first line of a file into a variable,
// without the kind before the slash: capture NAME stdout.
func scriptCapture(ts *testscript.TestScript, _ bool, args []string) {
	first, _, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
	fields := strings.Fields(first)
	if len(fields) == 0 {
		ts.Fatalf("nothing to capture in %s", args[1])
	}
	value := fields[len(fields)-1]
	if _, after, ok := strings.Cut(value, "/"); ok {
		value = after
	}
	ts.Setenv(args[0], value)
}

// scriptPrefix puts the beginning of a value into a variable: prefix NAME value n.
func scriptPrefix(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Setenv(args[0], args[1][:n])
}

// scriptMode checks the permissions of a file: mode 600 path.
func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatInt(int64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
