package agent_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/agent/wsconn"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func TestRunsWhatIsWanted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := startNode(t, s, t.TempDir())
	if n.NodeID() != "node-1" {
		t.Errorf("node id %q", n.NodeID())
	}
	a := assign("p1", executortest.Serves)
	s.want(a, 0)
	if r := s.awaitReport("p1", 1, api.RunRunning); !r.Ready {
		t.Errorf("running without ready: %+v", r)
	}
	s.await("acknowledgements", func() bool { return len(s.acks) == 2 && s.acks[1] == 2 })
	s.await("heartbeats", func() bool { return s.heartbeats > 1 })
	s.want(a, 0) // the same again starts nothing
	s.want(desireStop(a), 0)
	r := s.awaitReport("p1", 1, api.RunExited)
	if !r.Final || r.Reason != api.ReasonStopped || r.Termination == nil {
		t.Errorf("stopped with %+v", r)
	}
	if got := n.fake.Starts(); len(got) != 1 {
		t.Errorf("starts: %v", got)
	}
}

func TestRestartPolicies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		behaviour executortest.Behaviour
		policy    api.RestartPolicy
		attempts  int // that are not final
		reason    string
	}{
		{"success ends OnFailure", executortest.Returns, api.RestartOnFailure, 0, api.ReasonCompleted},
		{"failure ends Never", executortest.Throws, api.RestartNever, 0, api.ReasonError},
		{"failure restarts OnFailure", executortest.Throws, api.RestartOnFailure, 3, api.ReasonError},
		{"success restarts Always", executortest.Returns, api.RestartAlways, 3, api.ReasonCompleted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			n := startNode(t, s, t.TempDir())
			s.want(assign("p1", tc.behaviour, policy(tc.policy)), 0)
			for attempt := 1; attempt <= max(tc.attempts, 1); attempt++ {
				r := s.awaitReport("p1", attempt, api.RunExited)
				if r.Final != (tc.attempts == 0) || r.Termination.Reason != tc.reason {
					t.Errorf("attempt %d ended with %+v, %+v", attempt, r, r.Termination)
				}
				if next := r.Termination.RestartsAt; r.Final != (next == nil) || next != nil && !next.After(r.Termination.FinishedAt) {
					t.Errorf("attempt %d starts again at %v", attempt, next)
				}
				if !r.Final && (r.Reason != api.ReasonCrashLoopBackOff || !strings.Contains(r.Message, "starts again")) {
					t.Errorf("attempt %d waits with %+v", attempt, r)
				}
			}
			for i, k := range n.fake.Starts() {
				if k.Attempt != i+1 {
					t.Errorf("start %d has attempt %d", i+1, k.Attempt)
				}
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	startNode(t, s, t.TempDir())
	s.want(assign("p1", executortest.Serves, func(a *wire.Assignment) { a.Pod.DeadlineSeconds = new(1) }), 0)
	if r := s.awaitReport("p1", 1, api.RunExited); !r.Final || r.Reason != api.ReasonDeadlineExceeded {
		t.Errorf("ended with %+v", r)
	}
}

func TestIgnoredStopIsKilled(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	startNode(t, s, t.TempDir())
	a := assign("p1", executortest.IgnoresStop, func(a *wire.Assignment) { a.Pod.GraceSeconds = 0 })
	s.want(a, 0)
	s.awaitReport("p1", 1, api.RunRunning)
	stop := desireStop(a)
	stop.StopReason = api.ReasonEvicted
	for range 3 { // one that is overdue is told again
		s.want(stop, 0)
	}
	if r := s.awaitReport("p1", 1, api.RunExited); r.Reason != api.ReasonEvicted || !strings.Contains(r.Message, "killed") {
		t.Errorf("ended with %+v", r)
	}
}

func TestStopOfWhatNeverBegan(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := startNode(t, s, t.TempDir())
	s.want(desireStop(assign("p1", executortest.Serves)), 0)
	if r := s.awaitReport("p1", 1, api.RunExited); !r.Final || r.Reason != api.ReasonStopped {
		t.Errorf("confirmed with %+v", r)
	}
	if len(n.fake.Starts()) != 0 {
		t.Error("something was started")
	}
}

func TestGapIsNoticed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	startNode(t, s, t.TempDir())
	s.want(assign("p1", executortest.Serves), 7)
	s.await("a resync", func() bool { return s.resyncs == 1 })
	s.awaitReport("p1", 1, api.RunRunning)
}

func TestLostConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := t.TempDir()
	n := startNode(t, s, dir)
	s.want(assign("p1", executortest.Serves), 0)
	s.awaitReport("p1", 1, api.RunRunning)
	for i := range 3 {
		s.cut()
		s.await("another registration", func() bool { return len(s.registered) == i+2 })
	}
	s.mu.Lock()
	last, token := s.registered[3], s.tokens[3]
	s.mu.Unlock()
	if len(last.Runs) != 1 || last.Runs[0].Status != api.RunRunning || last.Runs[0].Attempt != 1 {
		t.Errorf("inventory: %+v", last.Runs)
	}
	if token != credential {
		t.Error("the node came back with something else than its credential")
	}
	if got := n.fake.Starts(); len(got) != 1 {
		t.Errorf("starts: %v", got)
	}
	info, err := os.Stat(filepath.Join(dir, "identity"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the credential's file: %v %v", info, err)
	}
}

func TestReportsSurviveUntilAcknowledged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := t.TempDir()
	n := startNode(t, s, dir)
	s.set(func() { s.keepMum = true })
	s.want(assign("p1", executortest.Returns), 0)
	s.await("a start", func() bool { return len(n.fake.Starts()) == 1 && len(s.reports) > 0 && len(s.acks) == 2 })
	waitForFile(t, filepath.Join(dir, "run.p1.1"), `"Completed"`, `"completed"`)
	n.crash()
	s.set(func() { s.keepMum, s.reports = false, nil })

	again := startNode(t, s, dir)
	if r := s.awaitReport("p1", 1, api.RunExited); r.Termination.Reason != api.ReasonCompleted || !r.Final {
		t.Errorf("replayed %+v", r)
	}
	s.await("the wanted set", func() bool { return len(s.acks) > 2 })
	if got := again.fake.Starts(); len(got) != 0 {
		t.Errorf("a final run was started again: %v", got)
	}
	s.remove(wire.PodRef{PodID: "p1", Incarnation: 1})
	waitGone(t, filepath.Join(dir, "run.p1.1"))
}

func TestKilledAgentReusesNoAttempt(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := t.TempDir()
	n := startNode(t, s, dir)
	s.want(assign("p1", executortest.Serves), 0)
	s.awaitReport("p1", 1, api.RunRunning)
	n.crash()
	s.set(func() { s.reports = nil })

	again := startNode(t, s, dir)
	if r := s.awaitReport("p1", 1, api.RunExited); r.Reason != api.ReasonAgentRestarted || r.Final {
		t.Errorf("the lost run ended with %+v", r)
	}
	s.awaitReport("p1", 2, api.RunRunning)
	if got := again.fake.Starts(); len(got) != 1 || got[0].Attempt != 2 {
		t.Errorf("starts: %v", got)
	}
}

func TestGracefulStop(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := t.TempDir()
	n := startNode(t, s, dir, func(c *agent.Config) { c.Leave = true })
	s.want(assign("p1", executortest.Serves), 0)
	s.want(assign("p2", executortest.Serves, policy(api.RestartNever)), 0)
	s.awaitReport("p1", 1, api.RunRunning)
	s.awaitReport("p2", 1, api.RunRunning)
	n.stop()
	if r := s.awaitReport("p1", 1, api.RunExited); r.Final || r.Reason != api.ReasonAgentRestarted {
		t.Errorf("p1 ended with %+v", r)
	}
	if r := s.awaitReport("p2", 1, api.RunExited); !r.Final {
		t.Errorf("p2 ended with %+v", r)
	}
	s.await("the leave", func() bool { return s.left })
	startNode(t, s, dir)
	s.awaitReport("p1", 2, api.RunRunning)
}

// A heartbeat that meets the node's leave finds that the server no longer knows the node,
// which is nothing to warn of.
func TestAHeartbeatDuringTheLeaveIsNoTrouble(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set(func() { s.beatBeforeLeft = true })
	var log bytes.Buffer
	n := startNode(t, s, t.TempDir(), func(c *agent.Config) {
		c.Leave = true
		c.Logger = loggingtest.NewTo(t, &log, joinToken).Logger
	})
	n.stop()
	s.await("the leave", func() bool { return s.leaving != "" })
	if strings.Contains(log.String(), "WARN") {
		t.Errorf("it warns:\n%s", log.String())
	}
}

func TestDroppedAndWantedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := startNode(t, s, t.TempDir())
	a := assign("p1", executortest.Serves)
	s.want(a, 0)
	s.awaitReport("p1", 1, api.RunRunning)
	s.remove(wire.PodRef{PodID: "p1", Incarnation: 1})
	s.awaitReport("p1", 1, api.RunExited)
	a.LastAttempt = 4
	s.want(a, 0)
	s.awaitReport("p1", 5, api.RunRunning)
	if n.fake.Live() != 1 {
		t.Errorf("%d runs are alive", n.fake.Live())
	}
}

func TestRefusedToken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := t.TempDir()
	startNode(t, s, dir).stop()
	// The credential is revoked; the join token that is given helps.
	s.set(func() {
		s.tokens = nil
		s.accept = func(tok string) bool { return tok == joinToken }
	})
	startNode(t, s, dir).stop()
	// Nothing helps until the server accepts again: the agent goes on trying.
	s.set(func() { s.tokens, s.accept = nil, func(string) bool { return len(s.tokens) > 4 } })
	startNode(t, s, dir)
}

// Who was never let in and shows a token that is no good is told, and does not wait
// for a token to become good.
func TestRefusedFirstToken(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		s := newServer(t)
		s.set(func() {
			s.lateAuth = late
			s.accept = func(string) bool { return late }
		})
		cfg, state := configure(t, s, t.TempDir())
		t.Cleanup(func() { _ = state.Close() })
		cfg.Token = "stark_join_wrong"
		a, err := agent.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err = a.Run(ctx)
		cancel()
		refused, ok := errors.AsType[*agent.RefusedError](err)
		if !ok || !strings.Contains(refused.Help, "stark node token create") || strings.Contains(err.Error(), cfg.Token) {
			t.Errorf("late %v: ended with %v, want the refusal and what helps", late, err)
		}
	}
}

// A server that does not know the token of the handshake asks for one.
func TestTokenAfterTheHandshake(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := t.TempDir()
	startNode(t, s, dir).stop()
	s.set(func() {
		s.lateAuth, s.tokens = true, nil
		s.accept = func(string) bool { return true }
	})
	startNode(t, s, dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	want := []string{credential, "late " + credential, "late " + joinToken}
	if !slices.Equal(s.tokens, want) {
		t.Errorf("tokens %v, want %v", s.tokens, want)
	}
}

// A report that the server cannot read does not hold up the others.
func TestPoisonedReport(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set(func() {
		s.poison = "bad"
		s.wanted = []wire.Assignment{assign("bad", executortest.Serves), assign("p1", executortest.Serves)}
	})
	startNode(t, s, t.TempDir())
	s.awaitReport("p1", 1, api.RunRunning)
	s.want(desireStop(assign("bad", executortest.Serves)), 0)
	s.want(desireStop(assign("p1", executortest.Serves)), 0)
	s.awaitReport("p1", 1, api.RunExited)
}

func TestSilentServer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	startNode(t, s, t.TempDir())
	s.set(func() { s.silent = true })
	s.await("some more heartbeats", func() bool { return true })
	// Two intervals of 50 ms and the slack of 5 s.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		s.mu.Lock()
		n, changed := len(s.tokens), s.changed
		s.mu.Unlock()
		if n > 1 {
			s.set(func() { s.silent = false })
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	t.Error("the agent stayed with a silent server")
}

func TestLogs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	startNode(t, s, t.TempDir())
	s.want(assign("p1", executortest.Returns), 0)
	s.awaitReport("p1", 1, api.RunExited)
	s.send(wire.TypeLogsOpen, wire.LogsOpen{StreamID: "a", PodID: "p1", Tail: -1, Follow: true})
	s.await("the end of the stream", func() bool { return len(s.logEnds) == 1 })
	s.send(wire.TypeLogsOpen, wire.LogsOpen{StreamID: "b", PodID: "nobody", Tail: -1})
	s.await("a refusal", func() bool { return len(s.logEnds) == 2 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.logs) != 1 || s.logs[0].Line != "hello" || s.logs[0].Attempt != 1 {
		t.Errorf("lines: %+v", s.logs)
	}
	if s.logEnds[0].Code != "" || s.logEnds[1].Code != "NOT_FOUND" {
		t.Errorf("ends: %+v", s.logEnds)
	}
}

func TestFollowedLogsCanBeClosed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	startNode(t, s, t.TempDir())
	a := assign("p1", executortest.Handles)
	s.want(a, 0)
	s.awaitReport("p1", 1, api.RunRunning)
	s.send(wire.TypeLogsOpen, wire.LogsOpen{StreamID: "a", PodID: "p1", Tail: -1, Follow: true})
	s.send(wire.TypeLogsOpen, wire.LogsOpen{StreamID: "b", PodID: "p1", Tail: -1, Follow: true})
	s.send(wire.TypeLogsClose, wire.LogsClose{StreamID: "b"})
	s.want(desireStop(a), 0)
	s.await("the line", func() bool { return len(s.logs) == 1 && s.logs[0].Line == "bye" })
	s.await("one end", func() bool { return len(s.logEnds) == 1 && s.logEnds[0].StreamID == "a" })
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := agent.Config{URL: "http://localhost", Name: "n", Executor: &executortest.Fake{}, State: &freezer{}, Dialer: wsconn.Dialer{}}
	for name, change := range map[string]func(*agent.Config){
		"no name":     func(c *agent.Config) { c.Name = "" },
		"no executor": func(c *agent.Config) { c.Executor = nil },
		"bad scheme":  func(c *agent.Config) { c.URL = "ftp://x" },
		"no host":     func(c *agent.Config) { c.URL = "http://" },
		"bad url":     func(c *agent.Config) { c.URL = "http://user:secret@[" },
	} {
		cfg := good
		change(&cfg)
		if _, err := agent.New(cfg); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := agent.New(good); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
}

// waitForFile waits until a file holds one of the texts.
func waitForFile(t *testing.T, path string, texts ...string) {
	t.Helper()
	eventually(t, func() bool {
		raw, err := os.ReadFile(path)
		for _, text := range texts {
			if err == nil && strings.Contains(string(raw), text) {
				return true
			}
		}
		return false
	})
}

func waitGone(t *testing.T, path string) {
	t.Helper()
	eventually(t, func() bool {
		_, err := os.Stat(path)
		return os.IsNotExist(err)
	})
}

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !f() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("waited in vain")
		}
	}
}
