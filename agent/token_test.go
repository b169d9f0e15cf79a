package agent_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/agent"
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
