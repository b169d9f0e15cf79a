package agent

import (
	"context"
	"sync"
)

// link holds the session that is registered now, if any, and tells of changes.
type link struct {
	mu      sync.Mutex
	session *session
	changed chan struct{}
}

func newLink() *link { return &link{changed: make(chan struct{})} }

// set replaces the session; nil means disconnected.
func (l *link) set(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = s
	close(l.changed)
	l.changed = make(chan struct{})
}

// peek gives the session or nil, and a channel that closes at the next change.
func (l *link) peek() (*session, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.changed
}

// get waits for a session.
func (l *link) get(ctx context.Context) (*session, error) {
	for {
		s, changed := l.peek()
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
