//go:build unix

package native_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/agent/nodejs/native"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	patience = 2 * time.Minute // it tells a test that hangs, and promises no speed
	// pack prints its process id and serves.
	pack = `module.exports = async ({ ready, signal }) => {
		console.log('pid', process.pid); ready();
		await new Promise((r) => signal.addEventListener('abort', r));
	}`
)

// plane is a control plane that wants one pod and takes every report.
type plane struct {
	url     string
	mu      sync.Mutex
	reports []wire.RunReport
	changed chan struct{}
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/bundle", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, pack) })
	mux.HandleFunc("/ws", p.serve)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

func (p *plane) serve(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return
	}
	ctx := context.Background()
	say := func(e wire.Envelope, payload any) {
		e.Payload, _ = json.Marshal(payload)
		frame, _ := json.Marshal(e)
		_ = c.Write(ctx, websocket.MessageText, frame) // a dead agent is what the tests are about
	}
	sum := sha256.Sum256([]byte(pack))
	say(wire.Envelope{Type: wire.TypeConnected}, wire.Connected{})
	for {
		_, frame, err := c.Read(ctx)
		if err != nil {
			return
		}
		var e wire.Envelope
		_ = json.Unmarshal(frame, &e)
		ack := wire.Envelope{Type: e.Type + wire.AckSuffix, CorrelationID: e.CorrelationID}
		switch e.Type {
		case wire.TypeRegister:
			say(ack, wire.Registered{Node: api.Node{ID: "n1"}, Credential: "stark_node_x", HeartbeatIntervalMS: 1000})
			say(wire.Envelope{Type: wire.TypeRunsSet, Seq: 1}, wire.RunsSet{Runs: []wire.Assignment{{
				PodID: "p1", Incarnation: 1, Desire: wire.DesireRun, Pod: wire.PodSpec{
					Name: "pack", RuntimeTag: api.TagNode, Format: api.FormatCommonJS, BundleSHA256: hex.EncodeToString(sum[:]),
					RestartPolicy: api.RestartOnFailure, GraceSeconds: 5, Limits: api.Resources{Memory: 256},
				},
			}}})
			say(wire.Envelope{Type: wire.TypeLogsOpen}, wire.LogsOpen{StreamID: "s", PodID: "p1", Tail: -1, Follow: true})
		case wire.TypeBundleURL:
			say(ack, wire.BundleURLAck{URL: "http://" + r.Host + "/bundle"})
		case wire.TypeHeartbeat:
			say(ack, wire.HeartbeatAck{})
		case wire.TypeRunReport:
			var in wire.RunReports
			_ = json.Unmarshal(e.Payload, &in)
			var out wire.RunReportsAck
			for _, rep := range in.Reports {
				out.Accepted = append(out.Accepted, rep.RunKey)
			}
			say(ack, out)
			p.note(in.Reports)
		}
	}
}

func (p *plane) note(reports []wire.RunReport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports = append(p.reports, reports...)
	close(p.changed)
	p.changed = make(chan struct{})
}

// await waits for a report of an attempt.
func (p *plane) await(t *testing.T, attempt int, status api.RunStatus) wire.RunReport {
	t.Helper()
	return p.awaitAny(t, attempt, attempt, status)
}

// awaitAny waits for a report of one of some attempts.
func (p *plane) awaitAny(t *testing.T, first, last int, status api.RunStatus) wire.RunReport {
	t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		for _, r := range p.reports {
			if r.Attempt >= first && r.Attempt <= last && r.Status == status {
				p.mu.Unlock()
				return r
			}
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no report %s of attempts %d to %d in %+v", status, first, last, p.reports)
		}
	}
}

func newAgent(ctx context.Context, log *slog.Logger, url, dir string) (*native.Agent, error) {
	return native.New(ctx, native.Config{
		Config: agent.Config{
			URL: url, Name: "n1", Token: "stark_join_x",
			Restart: agent.RestartDelays{First: 10 * time.Millisecond}, Backoff: agent.Backoff{First: 10 * time.Millisecond}, Logger: log,
		},
		StateDir: dir, Node: nodejs.Options{WarmPool: 1, Logger: log},
	})
}

// hosts lists the Node.js hosts below a folder.
func hosts(dir string) []int {
	out, _ := exec.Command("ps", "-eo", "pid,args").Output()
	var pids []int
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); strings.Contains(line, dir) && strings.Contains(line, "host-") {
			pid, _ := strconv.Atoi(f[0])
			pids = append(pids, pid)
		}
	}
	return pids
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !f() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// A killed host is its pod's crash: the pod starts again with the next attempt.
func TestKilledHost(t *testing.T) {
	t.Parallel()
	p, dir := newPlane(t), t.TempDir()
	a, err := newAgent(t.Context(), loggingtest.New(t, "stark_join_x").Logger, p.url, dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	p.await(t, 1, api.RunRunning)
	for _, pid := range hosts(dir) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	r := p.await(t, 1, api.RunExited)
	if r.Final || r.Termination.Reason != api.ReasonHostCrashed || r.Termination.Signal != "SIGKILL" || !strings.Contains(r.Termination.LastOutput, "pid") {
		t.Errorf("ended with %+v, %+v", r, r.Termination)
	}
	// The second attempt may get the warm host, which was killed as well.
	again := p.awaitAny(t, 2, 3, api.RunRunning)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	if r := p.await(t, again.Attempt, api.RunExited); r.Reason != api.ReasonAgentRestarted || r.Final {
		t.Errorf("stopped with %+v", r)
	}
	if left := hosts(dir); len(left) > 0 {
		t.Errorf("hosts are left: %v", left)
	}
}

// helperEnv makes the test binary an agent of its own, which can be killed.
const helperEnv = "STARK_TEST_AGENT"

func TestMain(m *testing.M) {
	if url, dir, ok := strings.Cut(os.Getenv(helperEnv), " "); ok {
		log, end := loggingtest.Shared(os.Stderr)
		a, err := newAgent(context.Background(), log.Logger, url, dir)
		if err == nil {
			_, _ = fmt.Fprintln(os.Stdout, "started")
			err = errors.Join(a.Run(context.Background()), end())
		}
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func helper(t *testing.T, url, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"="+url+" "+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it is dead already when all is well
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "started\n" {
		t.Fatalf("the agent said %q, %v", line, err)
	}
	return cmd
}

// After kill -9 of the agent nothing of its pods is left, and the next agent goes on
// with the next attempt.
func TestKilledAgent(t *testing.T) {
	t.Parallel()
	p, dir := newPlane(t), t.TempDir()
	first := helper(t, p.url, dir)
	p.await(t, 1, api.RunRunning)
	if len(hosts(dir)) == 0 {
		t.Fatal("no host is alive")
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err == nil {
		t.Error("the agent was not killed")
	}
	eventually(t, "the hosts end with their agent", func() bool { return len(hosts(dir)) == 0 })

	second := helper(t, p.url, dir)
	if r := p.await(t, 1, api.RunExited); r.Reason != api.ReasonAgentRestarted {
		t.Errorf("attempt 1 ended with %+v", r)
	}
	p.await(t, 2, api.RunRunning)
	if err := errors.Join(second.Process.Kill()); err != nil {
		t.Error(err)
	}
	_ = second.Wait() // killed, as wished
	eventually(t, "the hosts end with their agent", func() bool { return len(hosts(dir)) == 0 })
}

func TestNewCleansUpAfterItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		if _, err := newAgent(t.Context(), loggingtest.New(t, "stark_join_x").Logger, "ftp://nowhere", dir); err == nil || !strings.Contains(err.Error(), "http://") {
			t.Errorf("got %v", err)
		}
	}
	if c := native.Capacity(); c.CPU < 1000 || c.Memory < 256 || c.Pods == 0 {
		t.Errorf("capacity %+v", c)
	}
}
