package auth_test

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/rest/auth"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

const sessionID = "0190b2f5-7c1a-7d3e-9f00-00000000bbbb"

// sessions is a database in which some have ended.
type sessions struct {
	mu    sync.Mutex
	ended []string
	err   error
	blind bool
	asked atomic.Int32
	hold  chan struct{} // an answer waits for it, after it was found
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, id)
}

func (s *sessions) EndedSessions(_ context.Context, ids []string) ([]string, bool, error) {
	s.asked.Add(1)
	s.mu.Lock()
	found := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(s.ended, id) })
	hold, err, blind := s.hold, s.err, s.blind
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if blind || err != nil {
		return nil, !blind, err
	}
	return found, true, nil
}

func newGate(t *testing.T, s *sessions) (g *auth.Gate, stale *atomic.Bool) {
	t.Helper()
	stale = &atomic.Bool{}
	g, err := auth.NewGate(nil, s, stale.Load, loggingtest.New(t).Logger)
	if err != nil {
		t.Fatal(err)
	}
	return g, stale
}

var someone = access.Identity{UserID: userID, SessionID: sessionID}

func TestGateBelievesATokenWhileItsSessionLasts(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	s := &sessions{}
	g, err := auth.NewGate(p.verifier(t, nil), s, func() bool { return false }, loggingtest.New(t).Logger)
	if err != nil {
		t.Fatal(err)
	}
	token := sign(t, jwt.SigningMethodES256, "k1", key, claims(func(c jwt.MapClaims) { c["session_id"] = sessionID }))
	for range 5 {
		if id, err := g.Verify(t.Context(), token); err != nil || id.UserID != userID {
			t.Fatalf("got %+v, %v", id, err)
		}
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	g.End(sessionID)
	if _, err := g.Verify(t.Context(), token); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("after the end: %v", err)
	}
	odd := sign(t, jwt.SigningMethodES256, "k1", key, claims(func(c jwt.MapClaims) { c["session_id"] = "' or 1=1" }))
	if _, err := g.Verify(t.Context(), odd); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("a session that is no id: %v", err)
	}
	without := sign(t, jwt.SigningMethodES256, "k1", key, claims(func(c jwt.MapClaims) { delete(c, "session_id") }))
	if _, err := g.Verify(t.Context(), without); err != nil {
		t.Errorf("without a session: %v", err)
	}
}

func TestGateAsksAgainSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{}
		g, _ := newGate(t, s)
		alive := func() bool { t.Helper(); return g.Alive(t.Context(), someone) == nil }
		if !alive() {
			t.Error("refused")
		}
		s.end(sessionID)
		if !alive() {
			t.Error("asked too often")
		}
		wait(t, 3*time.Second+1)
		if alive() {
			t.Error("the end is not noticed in 3 s")
		}
	})
}

// An announced end counts at once, even against an answer from just before it.
func TestGateForgetsWhatWasUnderWay(t *testing.T) {
	t.Parallel()
	s := &sessions{hold: make(chan struct{})}
	g, _ := newGate(t, s)
	done := make(chan error, 1)
	go func() { done <- g.Alive(t.Context(), someone) }()
	for s.asked.Load() == 0 {
		wait(t, time.Millisecond)
	}
	s.end(sessionID)
	g.Forget(sessionID)
	close(s.hold)
	if err := <-done; err != nil {
		t.Errorf("who came before: %v", err)
	}
	if err := g.Alive(t.Context(), someone); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("who comes after: %v", err)
	}
}

func TestGateWithoutADatabase(t *testing.T) {
	t.Parallel()
	s := &sessions{err: fault.New(fault.Unavailable, "away")}
	g, stale := newGate(t, s)
	if err := g.Alive(t.Context(), someone); err != nil {
		t.Errorf("the database fails: %v", err)
	}
	asked := s.asked.Load()
	stale.Store(true)
	if err := g.Alive(t.Context(), someone); err != nil || s.asked.Load() != asked {
		t.Errorf("the database is away: %v, asked %d times", err, s.asked.Load())
	}
	g.End(sessionID)
	if err := g.Alive(t.Context(), someone); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("who signed out before it went: %v", err)
	}
	stale.Store(false)
	s.mu.Lock()
	s.err = fault.New(fault.Internal, "broken")
	s.mu.Unlock()
	other := access.Identity{UserID: userID, SessionID: userID}
	if err := g.Alive(t.Context(), other); fault.CodeOf(err) != fault.Internal {
		t.Errorf("a fault of ours lets nobody in: %v", err)
	}
}

func TestGateSaysOnceThatItCannotSee(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	g, err := auth.NewGate(nil, &sessions{blind: true}, func() bool { return false }, loggingtest.NewTo(t, &log).Logger)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := g.Alive(t.Context(), someone); err != nil {
			t.Error(err)
		}
		g.Forget(sessionID)
	}
	if n := bytes.Count(log.Bytes(), []byte("auth.sessions")); n != 1 {
		t.Errorf("said it %d times", n)
	}
}
