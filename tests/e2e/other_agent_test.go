package e2e

import (
	"context"
	"embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

//go:embed testdata/agent.mjs
var otherAgent embed.FS

// TestAnAgentOfAnotherMake holds docs/protocol.md against the server: the agent was
// written by it, in another language, and shares no code with ours.
func TestAnAgentOfAnotherMake(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.pack(c.Client, "steady")
	token, err := c.Client.CreateJoinToken(t.Context(), api.CreateJoinTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	p := launchOther(t, c, "other", token.Token)
	n := c.waitNode("other", api.NodeOnline)
	if n.Capabilities.Version != "other" || n.Allocatable.Pods != 10 {
		t.Errorf("node %+v", n)
	}
	pod := c.pod("steady")
	c.waitStatus(pod.ID, api.PodRunning)

	// It comes back with its credential, for the token is used up, and nothing starts twice.
	if err := p.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	said(t, p, `"registered"`, 2)
	second := c.pod("steady")
	c.waitStatus(second.ID, api.PodRunning)
	if got := c.waitStatus(pod.ID, api.PodRunning); got.Incarnation != 1 || got.Restarts != 0 {
		t.Errorf("after a reconnect the pod is %+v", got)
	}
	if _, _, err := c.Client.StopPod(t.Context(), pod.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(pod.ID, api.PodStopped)
	said(t, p, `"beat"`, 2)
	if err := p.Stop(patience); err != nil {
		t.Error(err)
	}
	c.waitNode("other", api.NodeOffline)
}

func launchOther(t *testing.T, c *cluster, name, token string) *harness.Process {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	code, err := otherAgent.ReadFile("testdata/agent.mjs")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "agent.mjs")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := harness.Launch(harness.Spec{
		Name: name, Path: node, Args: []string{"--no-warnings", "--experimental-websocket", file, name}, Dir: t.TempDir(),
		Env: []string{"STARK_URL=" + c.URL, "STARK_JOIN_TOKEN=" + token},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("agent %s:\n%s", name, p.Output())
		}
	})
	return p
}

// said waits until a process has written a text so many times.
func said(t *testing.T, p *harness.Process, text string, times int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for strings.Count(p.Output(), text) < times {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.Done():
			t.Fatalf("the process has ended:\n%s", p.Output())
		case <-ctx.Done():
			t.Fatalf("never %d times %s:\n%s", times, text, p.Output())
		}
	}
}
