// Package fault does to a cluster what operations do: kills, freezes, cuts and fills
// its parts, on real processes, a real Postgres and real Node.js workers, and then
// looks from outside whether anything ran twice or was lost: at the files that the
// packs themselves have left, at the processes of the machine, and at the tables.
//
// The cases take seconds each. TestChaos mixes them at random; `make chaos` runs it
// for long.
package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// stark is the binary under test.
var stark string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "stark-fault-")
	if err == nil {
		defer os.RemoveAll(dir)
		stark, err = harness.Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fault:", err)
		return 1
	}
	return m.Run()
}

// patience bounds every wait; it costs nothing when all is well.
const patience = 60 * time.Second

// starts is what counts: each run of this pack makes a file of its own name, which the
// file system lets nobody make twice, and tells of a second attempt in another file.
const counted = `const fs = require("fs"), path = require("path");
exports.default = async ({ pod, signal, ready }) => {
  const key = [pod.id, pod.incarnation, pod.attempt].join(".");
  try {
    fs.writeFileSync(path.join(DIR, key), process.pid + " " + fs.readFileSync("/proc/self/stat"), { flag: "wx" });
  } catch (err) {
    if (err.code === "EEXIST") fs.appendFileSync(path.join(DIR, "twice"), key + "\n");
    throw err;
  }
  ready();
  await new Promise((done) => signal.addEventListener("abort", done));
};
// VERSION
`

// cluster is one cluster, with the folder of what its packs have counted.
type cluster struct {
	*harness.Cluster
	t      testing.TB
	starts string
	db     *pgxpool.Pool // as the superuser: this is looking from outside
}

// start brings up servers behind a balancer, the agents node-1 and so on, and the pack
// "counted" in two versions; everything ends with the test.
func start(tb testing.TB, servers, agents int) *cluster {
	tb.Helper()
	c := bare(tb, servers)
	for i := range agents {
		c.node(fmt.Sprintf("node-%d", i+1))
	}
	return c
}

// bare is start without agents.
func bare(tb testing.TB, servers int, env ...string) *cluster {
	tb.Helper()
	return begin(tb, harness.Options{ServerEnv: env, Servers: servers})
}

func begin(tb testing.TB, o harness.Options) *cluster {
	tb.Helper()
	o.Stark, o.Dir = stark, tb.TempDir()
	hc, err := harness.Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	c := &cluster{Cluster: hc, t: tb, starts: tb.TempDir()}
	tb.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.WithoutCancel(tb.Context()), patience)
		defer stop()
		if tb.Failed() {
			for _, out := range c.Outputs() {
				tb.Logf("%s", tail(out))
			}
		}
		if err := c.Close(ctx); err != nil {
			tb.Errorf("end the cluster: %v", err)
		}
		c.nothingLives()
	})
	if c.db, err = pgxpool.New(tb.Context(), c.Stack.DBURL); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.db.Close)
	dir, err := json.Marshal(c.starts)
	if err != nil {
		tb.Fatal(err)
	}
	for _, version := range []string{"1.0.0", "2.0.0"} {
		c.register("counted", version, strings.NewReplacer("DIR", string(dir), "VERSION", version).Replace(counted))
	}
	return c
}

func tail(out string) string {
	const most = 6000
	return out[max(0, len(out)-most):]
}

func (c *cluster) register(name, version, code string) {
	c.t.Helper()
	_, err := c.Client.CreatePack(c.t.Context(), api.CreatePackRequest{Name: name, Version: version, RuntimeTag: api.TagNode}, client.Bundle{
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(code)), nil }, Size: int64(len(code)),
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// node starts an agent without a warm pool and waits until the node is online.
func (c *cluster) node(name string, args ...string) *harness.Process {
	c.t.Helper()
	return c.nodeAt(c.URL, name, args...)
}

func (c *cluster) nodeAt(url, name string, args ...string) *harness.Process {
	c.t.Helper()
	args = append([]string{"--warm-pool", "0", "--pods", "400", "--cpu", "64", "--memory", "256Gi"}, args...)
	p, err := c.AgentAt(c.t.Context(), url, name, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.eventually("node "+name+" to be online", func() error {
		// Of an agent that is started again the node is online before it is back.
		if !strings.Contains(p.Output(), `"msg":"registered"`) {
			return fmt.Errorf("the agent of %s has not registered", name)
		}
		return c.nodeIs(name, api.NodeOnline)
	})
	return p
}

func (c *cluster) nodeIs(name string, want api.NodeStatus) error {
	var is string
	if err := c.db.QueryRow(c.t.Context(), "select status::text from public.nodes where name = $1", name).Scan(&is); err != nil {
		return err
	}
	if is != string(want) {
		return fmt.Errorf("node %s is %s", name, is)
	}
	return nil
}

// pods asks for n pods, each as often as it takes: the client repeats what failed
// without an answer under the same key, so that nothing is made twice.
func (c *cluster) pods(n int, change ...func(*api.CreatePodRequest)) []string {
	c.t.Helper()
	ids, err := c.ask(n, change...)
	if err != nil {
		c.t.Fatal(err)
	}
	return ids
}

// ask is pods for other goroutines than the test's.
func (c *cluster) ask(n int, change ...func(*api.CreatePodRequest)) ([]string, error) {
	req := api.CreatePodRequest{PackName: "counted", PackVersion: "1.0.0", TerminationGracePeriodSeconds: new(2)}
	for _, f := range change {
		f(&req)
	}
	ids := make([]string, 0, n)
	for len(ids) < n {
		if err := c.persist(func() error {
			p, err := c.Client.CreatePod(c.t.Context(), req)
			if err == nil {
				ids = append(ids, p.ID)
			}
			return err
		}); err != nil {
			return ids, fmt.Errorf("create a pod: %w", err)
		}
	}
	return ids, nil
}

// persist repeats what a fault may have hit and says so: no connection, 503 or 504. Any
// other answer is an error of ours.
func (c *cluster) persist(f func() error) error {
	var final error
	err := within(c.t.Context(), patience, func() error {
		err := f()
		if err != nil && !fault.Retryable(err) {
			final = err
			return nil
		}
		return err
	})
	return errors.Join(final, err)
}

// eventually looks again and again until f has no complaint.
func (c *cluster) eventually(what string, f func() error) {
	c.t.Helper()
	if err := within(c.t.Context(), patience, f); err != nil {
		c.t.Fatalf("waited in vain for %s: %v", what, err)
	}
}

func within(ctx context.Context, limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := f()
		const syntax = "42" // the class of errors: a statement of this test that is wrong does not mend itself
		if e, ok := errors.AsType[*pgconn.PgError](err); err == nil || ok && strings.HasPrefix(e.Code, syntax) {
			return err
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
