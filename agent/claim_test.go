package agent_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// registry makes the server take what agents propose: a join token of one use, and the
// credential of whoever has used it. lost is called with each registration that is
// stored; true loses the answer.
type registry struct {
	used       bool
	credential string
}

func (r *registry) serve(s *server, lost func() bool) {
	s.accept = func(token string) bool {
		return token == joinToken && !r.used || token != "" && token == r.credential
	}
	s.answer = func(reg wire.Register) *wire.Registered {
		if reg.Credential != "" {
			r.used, r.credential = true, reg.Credential
		}
		if lost() {
			return nil
		}
		return &wire.Registered{Node: api.Node{ID: "node-1", Name: reg.Name}, HeartbeatIntervalMS: 50}
	}
}

// keptIdentity reads what stands on the disk.
func keptIdentity(t *testing.T, dir string) (id struct{ NodeID, Credential, Proposed string }) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "identity"))
	if err == nil {
		err = json.Unmarshal(raw, &id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// The answer to the first registration is lost: the join token is used up, and the agent
// comes back by what it has proposed.
func TestTheAnswerToTheFirstRegistrationIsLost(t *testing.T) {
	t.Parallel()
	s, r, dir := newServer(t), &registry{}, t.TempDir()
	r.serve(s, func() bool { return len(s.registered) == 1 })
	startNode(t, s, dir).stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []string{joinToken, r.credential}; !slices.Equal(s.tokens, want) {
		t.Errorf("shown: %q, want %q", s.tokens, want)
	}
	if err := api.ValidateCredential("credential", r.credential); err != nil {
		t.Error(err)
	}
	if id := keptIdentity(t, dir); id.NodeID != "node-1" || id.Credential != r.credential || id.Proposed != "" {
		t.Errorf("kept: %+v", id)
	}
}

// The agent ends between the answer and keeping it, as by kill -9.
func TestAnAgentThatEndsBeforeItKeepsItsFirstCredential(t *testing.T) {
	t.Parallel()
	s, r, dir := newServer(t), &registry{}, t.TempDir()
	var state *freezer
	r.serve(s, func() bool {
		state.freeze() // what the agent writes from here on is lost
		return false
	})
	startNode(t, s, dir, func(c *agent.Config) { state = c.State.(*freezer) }).stop()
	if id := keptIdentity(t, dir); id.NodeID != "" || id.Credential != "" || id.Proposed == "" {
		t.Fatalf("kept: %+v", id)
	}
	startNode(t, s, dir, func(c *agent.Config) { state = c.State.(*freezer) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []string{joinToken, r.credential}; !slices.Equal(s.tokens, want) {
		t.Errorf("shown: %q, want %q", s.tokens, want)
	}
	if len(s.registered) != 2 || s.registered[1].Credential != "" {
		t.Errorf("registered %+v, want twice and with one proposal", s.registered)
	}
}

// What never reached the server is proposed again with the token, and not made anew:
// the first registration may be stored at any time.
func TestAProposalThatWasNotTakenIsMadeAgain(t *testing.T) {
	t.Parallel()
	s, r, dir := newServer(t), &registry{}, t.TempDir()
	r.serve(s, func() bool { return len(s.registered) == 1 })
	taken := s.answer
	s.answer = func(reg wire.Register) *wire.Registered {
		if len(s.registered) == 1 {
			return nil
		}
		return taken(reg)
	}
	startNode(t, s, dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []string{joinToken, r.credential, joinToken}; !slices.Equal(s.tokens, want) {
		t.Errorf("shown: %q, want %q", s.tokens, want)
	}
	if len(s.registered) != 2 || s.registered[0].Credential != s.registered[1].Credential {
		t.Errorf("proposed %q, then %q", s.registered[0].Credential, s.registered[1].Credential)
	}
}

// A registration that is stored between the two claims of one attempt counts.
func TestARegistrationThatIsStoredLate(t *testing.T) {
	t.Parallel()
	s, dir := newServer(t), t.TempDir()
	var proposed string
	var stored bool
	s.accept = func(token string) bool {
		switch {
		case len(s.registered) == 0:
			return token == joinToken
		case token == joinToken:
			stored = true // and so the token is used
			return false
		default:
			return stored && token == proposed
		}
	}
	s.answer = func(reg wire.Register) *wire.Registered {
		if len(s.registered) == 1 {
			proposed = reg.Credential
			return nil
		}
		return &wire.Registered{Node: api.Node{ID: "node-1", Name: reg.Name}, HeartbeatIntervalMS: 50}
	}
	startNode(t, s, dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []string{joinToken, proposed, joinToken, proposed}; !slices.Equal(s.tokens, want) {
		t.Errorf("shown: %q, want %q", s.tokens, want)
	}
}

// A server that knows nothing of proposals gives a credential of its own.
func TestAServerThatMakesTheCredential(t *testing.T) {
	t.Parallel()
	s, dir := newServer(t), t.TempDir()
	startNode(t, s, dir).stop()
	if id := keptIdentity(t, dir); id.Credential != credential || id.Proposed != "" {
		t.Errorf("kept: %+v", id)
	}
}
