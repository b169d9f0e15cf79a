package auth

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	// verdictAge is how long a session is believed to be what it was when last asked
	// about. Where the database announces the end of sessions, it is gone at once.
	verdictAge     = 3 * time.Second
	cachedSessions = 16384
	checkTimeout   = 5 * time.Second
)

// Sessions tells which sessions of Supabase Auth are over; known is false where
// that cannot be found out.
type Sessions interface {
	EndedSessions(ctx context.Context, ids []string) (ended []string, known bool, err error)
}

// Gate believes a token only while its session lasts: an access token stands on
// its own until it expires, whoever has signed out meanwhile.
//
// While the database is away nobody can tell, and the signature has to do: what is
// answered then comes from memory, and nothing is changed. The same holds for
// tokens that name no session; Supabase Auth issues none, and takes them so too.
type Gate struct {
	verifier *Verifier
	sessions Sessions
	stale    func() bool
	log      *slog.Logger

	verdicts *lru.Cache[string, verdict] // by session
	asking   singleflight.Group
	changes  atomic.Uint64 // counts Forget: an answer that was under way then is not kept
	blind    atomic.Bool   // has said that sessions cannot be seen
}

type verdict struct {
	ended bool
	at    time.Time
}

// NewGate makes a Gate. stale tells whether the database is away now.
func NewGate(v *Verifier, s Sessions, stale func() bool, log *slog.Logger) (*Gate, error) {
	cache, err := lru.New[string, verdict](cachedSessions)
	if err != nil {
		return nil, err
	}
	return &Gate{verifier: v, sessions: s, stale: stale, log: log, verdicts: cache}, nil
}

// Verify checks a token and its session and gives who it speaks for, without roles:
// also when the session is over, for a log.
func (g *Gate) Verify(ctx context.Context, token string) (access.Identity, error) {
	id, err := g.verifier.Verify(ctx, token)
	if err != nil {
		return id, err
	}
	return id, g.Alive(ctx, id)
}

// Alive refuses who comes with a session that is over.
func (g *Gate) Alive(ctx context.Context, id access.Identity) error {
	if id.SessionID == "" {
		return nil
	}
	if !api.ValidID(id.SessionID) {
		return errEnded()
	}
	ended, err := g.ended(ctx, id.SessionID)
	if err != nil && fault.CodeOf(err) != fault.Unavailable {
		return err
	}
	if ended {
		return errEnded()
	}
	return nil
}

func errEnded() error {
	return fault.New(fault.TokenInvalid, "this session has ended; sign in again")
}

func (g *Gate) ended(ctx context.Context, session string) (bool, error) {
	known, hit := g.verdicts.Get(session)
	if hit && (time.Since(known.at) < verdictAge || g.stale()) || g.stale() {
		return known.ended, nil
	}
	// The caller may go away while others wait for the same answer.
	answer := g.asking.DoChan(session, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		before := g.changes.Load()
		ended, err := g.Ended(ctx, []string{session})
		if err == nil && g.changes.Load() == before {
			g.verdicts.Add(session, verdict{ended: len(ended) > 0, at: time.Now()})
		}
		return len(ended) > 0, err
	})
	select {
	case a := <-answer:
		ended, _ := a.Val.(bool)
		return ended, a.Err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// Ended gives those of the sessions that are over, as the database says now.
func (g *Gate) Ended(ctx context.Context, ids []string) ([]string, error) {
	ended, known, err := g.sessions.EndedSessions(ctx, ids)
	if err == nil && !known && g.blind.CompareAndSwap(false, true) {
		g.log.WarnContext(ctx, "this project does not let the server read auth.sessions: who signs out keeps an access token until it expires")
	}
	return ended, err
}

// End takes note that a session has just been ended through this server.
func (g *Gate) End(session string) {
	g.Forget(session)
	g.verdicts.Add(session, verdict{ended: true, at: time.Now()})
}

// Forget makes the next token of these sessions ask the database.
func (g *Gate) Forget(ids ...string) {
	g.changes.Add(1)
	for _, id := range ids {
		g.verdicts.Remove(id)
		g.asking.Forget(id)
	}
}
