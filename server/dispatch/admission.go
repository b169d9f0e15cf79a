package dispatch

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	// enterWithin is how long a connection may take from its handshake to the answer to
	// its registration before its place is given to another one. It goes on without.
	enterWithin = 5 * time.Second
	// firstEntry is how long one takes, as long as nobody has been seen.
	firstEntry = 250 * time.Millisecond

	minAway = time.Second
	maxAway = 30 * time.Second // what agents wait at most by themselves
)

// admission bounds how many nodes are on their way in at the same time: after a restart
// of the server all come at once, and if all were let wait inside, each would wait for
// longer than it has patience, come again, and make the others wait for its second try.
// Who finds no place is told when to come again, one after the other, at the speed at
// which places become free.
type admission struct {
	most int
	now  func() time.Time

	mu     sync.Mutex
	inside int           // guarded by mu, like the rest
	took   time.Duration // from a place taken to the same place free, on average
	next   time.Time     // when the last one that was sent away comes again
}

func newAdmission(most int, now func() time.Time) *admission {
	return &admission{most: most, now: now, took: firstEntry}
}

// place is a place inside; it may be left more than once.
type place struct {
	of     *admission
	since  time.Time
	expiry *time.Timer
	once   sync.Once
}

// enter gives a place, or an error that says when to come again.
func (a *admission) enter() (*place, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if a.inside < a.most {
		a.inside++
		p := &place{of: a, since: now} // who leaves it waits for the lock
		p.expiry = time.AfterFunc(enterWithin, p.leave)
		return p, nil
	}
	if a.next.Before(now.Add(minAway)) {
		a.next = now.Add(minAway)
	}
	a.next = a.next.Add(a.took / time.Duration(a.most))
	away := a.next.Sub(now)
	if away > maxAway { // nobody is told to stay away for longer, nor all to come at that time
		a.next = now.Add(maxAway)
		away = maxAway - rand.N(maxAway/2)
	}
	e := fault.New(fault.Unavailable, "more nodes connect than the server can take in at once: come again a little later")
	e.RetryAfter = away
	e.Details = map[string]any{wire.DetailTurn: true}
	return nil, e
}

func (p *place) leave() {
	p.once.Do(func() {
		a := p.of
		a.mu.Lock()
		defer a.mu.Unlock()
		p.expiry.Stop()
		a.inside--
		const weight = 64
		a.took += (a.now().Sub(p.since) - a.took) / weight
	})
}

// speaksForNode tells by a token that whoever shows it is about to register a node. Users
// are let in however many nodes come; their place is found when they register one.
func speaksForNode(token string) bool {
	return strings.HasPrefix(token, api.NodeCredentialPrefix) || strings.HasPrefix(token, api.JoinTokenPrefix)
}

// takePlace has the session on its way in, unless it is already.
func (s *session) takePlace() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.place != nil {
		return nil
	}
	p, err := s.d.admission.enter()
	if err != nil {
		s.d.metrics.turnedAway.Inc()
		return err
	}
	s.place = p
	return nil
}

// leavePlace says that the session is in, or gone.
func (s *session) leavePlace() {
	s.mu.Lock()
	p := s.place
	s.place = nil
	s.mu.Unlock()
	if p != nil {
		p.leave()
	}
}
