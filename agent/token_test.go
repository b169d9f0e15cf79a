package agent_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A session's token is asked for when it is needed, and an Auth that is away then
// is no refusal; with a credential of its own the node asks no more.
func TestTokenOfASession(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir := t.TempDir()
	var asked atomic.Int32
	session := func(c *agent.Config) {
		c.Token, c.TokenSource = "", func(context.Context) (string, error) {
			if asked.Add(1) < 3 {
				return "", fault.New(fault.Unavailable, "the session cannot be renewed now")
			}
			return joinToken, nil
		}
	}
	startNode(t, s, dir, session).stop()
	startNode(t, s, dir, session)
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []string{joinToken, credential}; !slices.Equal(s.tokens, want) || asked.Load() != 3 {
		t.Errorf("tokens %v after %d questions, want %v", s.tokens, asked.Load(), want)
	}
}

// givingUp runs an agent whose owner is at hand.
func givingUp(t *testing.T) (s *server, a *agent.Agent, exec *executortest.Fake, ended <-chan error) {
	t.Helper()
	s = newServer(t)
	cfg, state := configure(t, s, t.TempDir())
	t.Cleanup(func() { _ = state.Close() })
	cfg.GiveUp = true
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	go func() { result <- a.Run(ctx) }()
	return s, a, cfg.Executor.(*executortest.Fake), result
}

// An agent whose owner is at hand ends when its credential is revoked, after its pods.
func TestGivesUpWhereItIsNotLetInAnyMore(t *testing.T) {
	t.Parallel()
	s, a, exec, ended := givingUp(t)
	<-a.Registered()
	s.want(assign("p1", executortest.Serves), 0)
	s.awaitReport("p1", 1, api.RunRunning)
	s.set(func() { s.accept = func(string) bool { return false } })
	s.cut()
	err := <-ended
	if refused, ok := errors.AsType[*agent.RefusedError](err); !ok || refused.Help == "" {
		t.Errorf("ended with %v, want the refusal and what helps", err)
	}
	if n := exec.Live(); n != 0 {
		t.Errorf("%d pods run on", n)
	}
}

// A token that is good for many nodes is no way around the revocation: the node would be
// back, or its owner told that its own name is taken. They are told what happened.
func TestGivesUpWithoutShowingItsTokenAgain(t *testing.T) {
	t.Parallel()
	s, a, _, ended := givingUp(t)
	<-a.Registered()
	s.set(func() {
		s.tokens = nil
		s.accept = func(string) bool { return false }
	})
	s.cut()
	err := <-ended
	if refused, ok := errors.AsType[*agent.RefusedError](err); !ok || !strings.Contains(refused.Help, "stark node invite") {
		t.Errorf("ended with %v, want the refusal and that a new link helps", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []string{credential}; !slices.Equal(s.tokens, want) {
		t.Errorf("shown after the revocation: %q, want %q", s.tokens, want)
	}
}
