package local

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/supabase/devstack"
)

const patience = 60 * time.Second

// begin starts a cluster in dir that ends with the test or at stop.
func begin(t *testing.T, dir string) (c *Cluster, stop func()) {
	t.Helper()
	var steps []string
	log := loggingtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := Start(ctx, Options{
		Dir: dir, NodeName: "node-1", Logger: log.Logger, PasswordCost: devstack.LeastPasswordCost,
		Report: func(s Step) { steps = append(steps, s.Name); t.Logf("%s: %s (%s)", s.Name, s.Message, s.Took) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(steps); got != 5 {
		t.Errorf("steps = %q, want database, schema, server, you, node", steps)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	t.Cleanup(stop)
	return c, stop
}

func TestClusterRunsAPackAndKeepsItsStateOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, stop := begin(t, dir)
	code := []byte(`exports.default = async ({ log, signal, ready }) => { log.info("hello from here"); ready(); await new Promise((r) => signal.addEventListener("abort", r)); }`)
	_, err := c.Client.CreatePack(t.Context(), api.CreatePackRequest{Name: "hello", Version: "1.0.0", RuntimeTag: api.TagUniversal}, client.Bundle{
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(code)), nil }, Size: int64(len(code)),
	})
	if err != nil {
		t.Fatal(err)
	}
	pod, err := c.Client.CreatePod(t.Context(), api.CreatePodRequest{PackName: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	if line := firstLine(t, c, pod.ID); line != "INFO hello from here" {
		t.Errorf("first line %q", line)
	}
	node := c.Node.ID()
	stop()

	c, _ = begin(t, dir)
	if c.FirstStart || c.Node.ID() != node {
		t.Errorf("first start %v, node %s; want the state of before with node %s", c.FirstStart, c.Node.ID(), node)
	}
	if line := firstLine(t, c, pod.ID); line != "INFO hello from here" {
		t.Errorf("first line after the restart %q", line)
	}
}

// firstLine follows a pod's output up to its first line.
func firstLine(t *testing.T, c *Cluster, id string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for line, err := range c.Client.PodLogs(ctx, id, client.LogOptions{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Line != "" {
			return line.Line
		}
	}
	t.Fatal("the output ended without a line")
	return ""
}
