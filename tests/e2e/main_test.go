// Package e2e holds the journeys of users and the accidents of operations, on
// the binary that users run: real server, agent and Node.js processes on a real
// Postgres. Each test has a cluster of its own.
package e2e

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// stark is the binary under test.
var stark string

//go:embed testdata/packs/*.js
var packs embed.FS

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "stark-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		stark, err = harness.Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer closeBrowser()
	return m.Run()
}

// patience bounds every wait; it is long because CI machines can be slow, and
// costs nothing when all is well.
const patience = 60 * time.Second

type cluster struct {
	*harness.Cluster
	t     *testing.T
	watch *harness.Watcher
}

// start brings up a cluster that ends with the test.
func start(t *testing.T, serverEnv ...string) *cluster {
	t.Helper()
	hc, err := harness.Start(t.Context(), harness.Options{Stark: stark, Dir: t.TempDir(), ServerEnv: serverEnv, LogLevel: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Cluster: hc, t: t}
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		if c.watch != nil {
			c.watch.Close()
		}
		if err := c.Close(ctx); err != nil {
			t.Errorf("end the cluster: %v", err)
		}
		c.searchForSecrets()
		if t.Failed() {
			t.Logf("server:\n%s", c.Server.Output())
		}
	})
	c.rewatch()
	return c
}

// rewatch opens the watch anew, after the server was restarted for instance.
func (c *cluster) rewatch() {
	c.t.Helper()
	if c.watch != nil {
		c.watch.Close()
	}
	w, err := harness.Watch(c.t.Context(), c.Client.WebSocketURL(), c.Session.AccessToken)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.Server.Output())
	}
	c.watch = w
}

// node starts an agent and waits until the node is online.
func (c *cluster) node(name string, args ...string) *harness.Process {
	c.t.Helper()
	p, err := c.Agent(c.t.Context(), name, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("agent %s:\n%s", name, p.Output())
		}
	})
	c.waitNode(name, api.NodeOnline)
	return p
}

func (c *cluster) waitNode(name string, status api.NodeStatus) api.Node {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	n, err := c.watch.WaitNode(ctx, name, "to be "+string(status), func(n api.Node) bool { return n.Status == status })
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// waitPod waits until the pod meets the condition.
func (c *cluster) waitPod(id, what string, ok func(api.Pod) bool) api.Pod {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	p, err := c.watch.WaitPod(ctx, id, what, ok)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *cluster) waitStatus(id string, status api.PodStatus) api.Pod {
	c.t.Helper()
	return c.waitPod(id, "to be "+string(status), func(p api.Pod) bool { return p.Status == status })
}

// pack registers a pack of testdata under its file name, version 1.0.0.
func (c *cluster) pack(cl *client.Client, name string, change ...func(*api.CreatePackRequest)) api.Pack {
	c.t.Helper()
	code, err := packs.ReadFile("testdata/packs/" + name + ".js")
	if err != nil {
		c.t.Fatal(err)
	}
	req := api.CreatePackRequest{Name: name, Version: "1.0.0", RuntimeTag: api.TagNode}
	for _, f := range change {
		f(&req)
	}
	p, err := cl.CreatePack(c.t.Context(), req, bundle(code))
	if err != nil {
		c.t.Fatalf("register %s: %v", name, err)
	}
	return p
}

func bundle(code []byte) client.Bundle {
	return client.Bundle{
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(code)), nil },
		Size: int64(len(code)),
	}
}

// pod asks for a pod of a pack by name.
func (c *cluster) pod(name string, change ...func(*api.CreatePodRequest)) api.Pod {
	c.t.Helper()
	// A tab on a loaded machine says that its timers come late, and takes no pod that minds
	// for a minute: these do not mind.
	req := api.CreatePodRequest{PackName: name, Tolerations: []api.Toleration{{Key: "node.stark.io/throttled", Operator: api.TolerationExists}}}
	for _, f := range change {
		f(&req)
	}
	p, err := c.Client.CreatePod(c.t.Context(), req)
	if err != nil {
		c.t.Fatalf("create a pod of %s: %v", name, err)
	}
	return p
}
